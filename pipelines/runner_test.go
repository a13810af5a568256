package pipelines

import (
	"strings"
	"testing"
)

func TestResolveRunner(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	for _, c := range []struct{ name, endpoint, want, err string }{
		{"prism", "", "prism", ""},
		{"flink", "localhost:8099", "flink@localhost:8099", ""},
		{"universal", "[::1]:8099", "universal@[::1]:8099", ""},
		{"flink", "", "", "adaptflow flink up"},
		{"spark", "", "", "adaptflow spark up"},
		{"universal", "", "", "needs the job server's --endpoint"},
		{"flink", "localhost", "", "want HOST:PORT"},
		{"prism", "localhost:1", "", "goes with --runner flink"},
		{"fink", "", "", "the runners are prism, flink, spark, universal"},
	} {
		got, err := ResolveRunner(c.name, c.endpoint)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("ResolveRunner(%q, %q) = %q, %v", c.name, c.endpoint, got, err)
		}
	}
}
