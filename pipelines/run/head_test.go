package run

import (
	"testing"

	"github.com/adaptflow/adaptflow/recipe"
)

// TestHeads: every task that a recipe may name has its row.
func TestHeads(t *testing.T) {
	var tasks []string
	for _, f := range recipe.Fields() {
		if f.Path == "model.task" {
			tasks = f.Enum
		}
	}
	if len(tasks) != len(heads) {
		t.Errorf("%d rows for the tasks %q", len(heads), tasks)
	}
	for _, task := range tasks {
		rec := recipe.Default()
		rec.Model.Task = task
		if h := headOf(&rec); (h.classes != nil) != rec.Classifies() || (h.rows != "") != rec.Classifies() {
			t.Errorf("%s: %+v", task, h)
		}
	}
}
