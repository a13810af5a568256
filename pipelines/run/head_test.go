package run

import (
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
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
	for _, task := range tasks {
		rec := recipe.Default()
		rec.Model.Task = task
		if h := headOf(&rec); h.task != task || (h.classes != nil) != rec.Classifies() || (h.rows != "") != rec.Classifies() {
			t.Errorf("%s: %+v", task, h)
		}
	}
	rec := recipe.Default()
	rec.Model.Task, rec.Train.Objective = "SEQ_CLS", "reward"
	if h := headOf(&rec); h.outputs != 1 || h.classes != nil || h.rows != datasets.RowPreference || rec.Classifies() || !rec.Rewards() {
		t.Errorf("a reward model: %+v", h)
	}
}
