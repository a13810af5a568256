package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// TestRunBegunBefore: a run that an earlier version began goes on with its recipe, from its checkpoint, in its order of examples, to the
// bytes that version gives.
func TestRunBegunBefore(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/begun-before")); err != nil {
		t.Fatal(err)
	}
	adapter := func(out string) string {
		c := adaptflow("run", "domain-adaptation", "--set", "input=train.txt", "--set", "eval_input=eval.txt", "--set", "general_input=",
			"--set", "sequence_length=16", "--set", "batch_size=4",
			"--set", "train.max_steps=-1", "--set", "train.num_train_epochs=2", "--set", "train.save_steps=2", "--set",
			"train.save_total_limit=9", "--set", "evaluate.max_new_tokens=0",
			"--set", "method.r=1", "--set", "method.target_modules=[q_proj]", "--set", "method.layers_to_transform=[0]", "--output", out)
		c.Dir, c.Env = dir, append(c.Env, "ADAPTFLOW_KERNELS=plain")
		code, _, stderr := ended(t, c)
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", out, code, stderr)
		}
		if strings.Contains(stderr, "continuing from") != (out == "out") {
			t.Errorf("%s: it says %s", out, stderr)
		}
		sum, err := storage.SHA256File(filepath.Join(dir, out, "adapter", "adapter_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	const want = "bb69933b4c89b9807615cf68d829c483894f3edeb2e7f59cc115680e9dc1665d"
	if got := adapter("out"); got != want {
		t.Errorf("resumed: %s", got)
	}
	if got := adapter("new"); got == want {
		t.Error("a new run is in the order of the version before")
	}
}
