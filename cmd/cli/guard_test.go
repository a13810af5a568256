package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestForgettingGuard: a run that forgets more than max_general_rise goes back to the latest checkpoint that holds it; where none does it
// is finished all the same and ends with exit code 3; a limit that holds changes no byte of the adapter.
func TestForgettingGuard(t *testing.T) {
	b := &desk{t, t.TempDir()}
	text := b.file("train.txt", strings.Repeat("qqq zzz xxx qqq zzz xxx www qqq zzz.\n", 60))
	general := b.file("general.txt", strings.Repeat("The old man went to the sea, and the boy came with him in the morning.\n", 8))
	one := func(name string, args ...string) (code int, stderr string, adapter []byte, g struct {
		Step, Last           int
		Base, General, Limit float64
		Held                 bool
	}) {
		t.Helper()
		out := b.path(name)
		run := []string{"run", "domain-adaptation", "--output", out}
		for _, kv := range append([]string{"input=" + text, "general_input=" + general, "eval_input=", "sequence_length=32", "max_steps=6",
			"save_steps=1", "save_total_limit=10", "learning_rate=0.02", "warmup_steps=4", "per_device_train_batch_size=2",
			"evaluate.max_new_tokens=0", "evaluate.max_sequences=4"}, args...) {
			run = append(run, "--set", kv)
		}
		code, _, stderr = ended(t, adaptflow(run...))
		adapter, _ = os.ReadFile(filepath.Join(out, "adapter", "adapter_model.safetensors"))
		raw, err := os.ReadFile(filepath.Join(out, "stages", "forgetting.json"))
		if err == nil {
			err = json.Unmarshal(raw, &g)
		}
		if err != nil && len(args) > 0 {
			t.Fatalf("%s: %v: %s", name, err, stderr)
		}
		return code, stderr, adapter, g
	}
	code, stderr, free, _ := one("free")
	if code != 0 || len(free) == 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	code, stderr, wide, g := one("wide", "max_general_rise=1000000")
	if code != 0 || string(wide) != string(free) || !g.Held || g.Step != 6 {
		t.Errorf("a wide limit: exit code %d, %+v: %s", code, g, stderr)
	}
	rise := g.General/g.Base - 1
	t.Logf("general perplexity %.2f to %.2f in 6 steps", g.Base, g.General)
	code, stderr, back, g := one("back", "max_general_rise="+strconv.FormatFloat(rise*0.7, 'f', 6, 64))
	if code != 0 || !g.Held || g.Step >= 6 || g.Step == 0 || g.Last != 6 || g.General > g.Limit || string(back) == string(free) {
		t.Errorf("a limit that is exceeded: exit code %d, %+v: %s", code, g, stderr)
	}
	raw, _ := os.ReadFile(filepath.Join(b.path("back"), "metrics.json"))
	if !strings.Contains(string(raw), `"forgetting_guard": "went back from step 6 to step`) {
		t.Errorf("metrics.json says nothing of the guard")
	}
	code, stderr, kept, g := one("none", "max_general_rise=0.0000001", "save_steps=6")
	if code != 3 || g.Held || g.Step != 6 || string(kept) != string(free) || !strings.Contains(stderr, "max_general_rise allows") {
		t.Errorf("a limit that nothing holds: exit code %d, %+v: %s", code, g, stderr)
	}
}
