package run

import (
	"testing"

	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }
