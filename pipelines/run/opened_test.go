package run

import (
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
)

// TestAnOutputOutOfReachIsRefusedFirst: a run says what its workers cannot reach before it looks for its model.
func TestAnOutputOutOfReachIsRefusedFirst(t *testing.T) {
	for _, c := range []struct {
		name, output string
		runner       runners.Runner
		err          string
	}{
		{"Prism", "s3://bucket/run", runners.Runner{Name: "prism"}, "no/such/folder"},
		{"a shared volume", "/data/out", runners.Runner{Name: "flink", Endpoint: "192.0.2.7:8099", Environment: "process",
			Program: "/opt/adaptflow"}, "no/such/folder"},
		{"Flink elsewhere", "s3://bucket/run", runners.Runner{Name: "flink", Endpoint: "192.0.2.7:8099", Environment: "process",
			Program: "/opt/adaptflow"}, "do not see"},
	} {
		r := &Run{Recipe: &recipe.Recipe{}, Runner: c.runner, Output: c.output}
		r.Recipe.Model.Path = "no/such/folder"
		if err := r.Open(); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: opened: %v", c.name, err)
		}
	}
}
