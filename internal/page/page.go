// Package page is for tests that keep a generated page current: the test makes the page, and its package has the comment
//
//	//go:generate go test -count=1 -run ^TestPage$ . -update
//
// which writes it.
package page

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

var update = flag.Bool("update", false, "write the generated page")

// Current compares the file at path with what it should be, and fails the test at the first line that differs; by -update it writes the
// file. generate is the command that people run for that, as "go generate ./recipe".
func Current(t testing.TB, path, generate string, want []byte) {
	t.Helper()
	if *update {
		if err := storage.WriteShared(path, want); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := storage.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	x, y := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	i := 0
	for i < min(len(x), len(y)) && x[i] == y[i] {
		i++
	}
	t.Errorf("%s is not up to date from line %d: run %s\n%s\nwant\n%s", path, i+1, generate, line(x, i), line(y, i))
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(the end)"
}
