package infer

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/peft/pefttest"
)

// classifier writes an adapter with a head of classes, whose values are drawn with a seed.
func classifier(t *testing.T, dir string, classes, seed int) string {
	t.Helper()
	m, err := model.LoadTask(dir, "float32", model.Task{Type: "SEQ_CLS", NumLabels: classes, Seed: uint64(seed)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	to := filepath.Join(t.TempDir(), "classifier")
	pefttest.Save(t, to, "LORA", map[string]any{"r": 2, "target_modules": []string{"q_proj", "down_proj"}, "task_type": "SEQ_CLS"},
		nn.Sites(m), peft.Env{ModelType: m.Config.ModelType}, seed)
	return to
}

// TestClassifiersByName: each classifier has a head of its own, which stands in the place of the base's for a whole step, so that several
// are refused together: those with heads of one shape as what cannot be mixed, others by what their heads are.
func TestClassifiersByName(t *testing.T) {
	dir := embedded(t).Dir
	a := classifier(t, dir, 3, 1)
	alone, err := Load(dir, "", a)
	if err != nil {
		t.Fatal(err)
	}
	alone.Close()
	for other, want := range map[string]string{
		classifier(t, dir, 3, 2): "cannot be mixed with others; load it alone",
		classifier(t, dir, 4, 3): "heads of 3 and 4 classes",
		strong(t, dir, 3):        "heads of 3 and 0 classes (0 for a language model): load them apart",
	} {
		if _, err := LoadNamed(dir, "", Named{"a", a}, Named{"other", other}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
