// Package jobstest makes the tests of a package that runs jobs a Beam program.
package jobstest

import (
	"log/slog"
	"os"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
)

// Main runs the tests of a package, as its TestMain: Beam is initialised, and the runner is quiet.
func Main(m *testing.M) {
	beam.Init()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}
