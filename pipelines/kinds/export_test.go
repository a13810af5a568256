package kinds

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
)

func exportOnce(t *testing.T, rec *recipe.Recipe, output string) error {
	t.Helper()
	r := &run.Run{Recipe: rec, Output: output, Say: t.Logf}
	defer r.Close()
	if err := Open(r); err != nil {
		t.Fatal(err)
	}
	return Of(rec).Export(context.Background(), r)
}

// Export of continual learning is a copy of the version in use.
func TestExportOfContinualLearning(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	incoming(t, in, map[string]string{"1.txt": letters(0, 30)})
	rec := continualRecipe(t, in, "max_domain_rise=-1", "max_forgetting=0.5", "learning_rate=0.003")
	if err := exportOnce(t, rec, out); err == nil || !strings.Contains(err.Error(), "has no version yet") {
		t.Errorf("before the first increment: %v", err)
	}
	for n, name := range []string{"1.txt", "2.txt"} {
		incoming(t, in, map[string]string{name: letters(30*n, 30)})
		l, err := learnOnce(t, context.Background(), rec, out, Watch{})
		if err != nil {
			t.Fatal(err)
		}
		if err := exportOnce(t, rec, out); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadDir(filepath.Join(out, l.Current))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range want {
			a, err1 := os.ReadFile(filepath.Join(out, l.Current, e.Name()))
			b, err2 := os.ReadFile(filepath.Join(out, run.AdapterDir, e.Name()))
			if err1 != nil || err2 != nil || string(a) != string(b) {
				t.Errorf("increment %d, %s: the copy differs: %v %v", n+1, e.Name(), err1, err2)
			}
		}
	}
	// The adapter in use is damaged: nothing is exported.
	if err := os.WriteFile(filepath.Join(out, "versions", "0002", "adapter_model.safetensors"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := exportOnce(t, rec, out); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("a damaged version: %v", err)
	}
}

// A run of several adapters says where they are.
func TestExportOfSeveralAdapters(t *testing.T) {
	for name, want := range map[string]string{"personal-assistants": "adapters", "compare-methods": CompareFile} {
		rec := resolved(t, name)
		out := filepath.Join(t.TempDir(), "out")
		if err := exportOnce(t, rec, out); err == nil || !strings.Contains(err.Error(), filepath.Join(out, want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
