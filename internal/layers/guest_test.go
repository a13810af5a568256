package layers

import (
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// hostly is what a library must not do to the process that it is in: set its loggers, how its garbage is collected, or begin it as a Beam
// program.
var hostly = regexp.MustCompile(`\bslog\.SetDefault\(|\blog\.Set(Output|Flags|Prefix)\(|\bdebug\.Set(GCPercent|MemoryLimit)\(|\bbeam\.Init\(`)

// hosts are the files beside cmd/ and tests that do: a program as Beam's worker, the heap of a process that the program says is its own,
// and what makes the tests of a package a program.
var hosts = []string{"pipelines/runners/worker.go", "internal/mem/heap.go", "transforms/jobs/jobstest/"}

// TestAGoodGuest: as a library the code changes nothing of its host.
func TestAGoodGuest(t *testing.T) {
	seen := map[string]bool{}
files:
	for name, source := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "interop/") {
			continue
		}
		found := hostly.Find(source)
		if found == nil {
			continue
		}
		for _, h := range hosts {
			if strings.HasPrefix(name, h) {
				seen[h] = true
				continue files
			}
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.PackageClauseOnly)
		if err != nil || f.Name.Name != "main" {
			t.Errorf("%s calls %s): that is the host's, or cmd/cli's as one", name, found)
		}
	}
	if len(seen) != len(hosts) {
		t.Errorf("of the files that may, only these do: %v", seen)
	}
}
