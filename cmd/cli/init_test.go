package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/pipelines/report"
)

// TestStartFromDataAndCodes: LoRA that starts from the activations of the data (EVA), or beside quantised weights (LoftQ), trains from a
// recipe. EVA's pass over the data is deterministic: a run that is killed in it or after it ends with the bytes of one that was not.
func TestStartFromDataAndCodes(t *testing.T) {
	b := &desk{t, t.TempDir()}
	corpus := b.corpus(60)
	recipe := func(name, init string) string {
		return b.file(name+".yaml", "method: {peft_type: LORA, r: 4, lora_alpha: 8, target_modules: [q_proj, v_proj, down_proj], "+
			init+"}\n")
	}
	args := func(out, recipe string) []string {
		a := append([]string{"run", "domain-adaptation", "--recipe", recipe, "--output", b.path(out)},
			set("input="+corpus, "batch_size=2", "sequence_length=64")...)
		return append(a, "--set", "steps=6", "--set", "train.save_steps=2", "--set", "train.warmup_steps=1", "--set", "learning_rate=0.01")
	}
	read := func(path string) []byte {
		raw, err := os.ReadFile(b.path(path))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	train := func(out, recipe string) map[string]any {
		code, _, stderr := ended(t, adaptflow(args(out, recipe)...))
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", out, code, stderr)
		}
		if strings.Contains(stderr, "initialising: 2 batches") != (out == "eva") && !strings.HasPrefix(out, "killed") {
			t.Errorf("%s: what it says of the pass over the data is %q", out, stderr)
		}
		m, err := report.ReadMetrics(b.path(out))
		if err != nil {
			t.Fatal(err)
		}
		if d := m.Eval.Domain; !(d.After.Perplexity < d.Before.Perplexity) {
			t.Errorf("%s: the perplexity went from %g to %g", out, d.Before.Perplexity, d.After.Perplexity)
		}
		var config map[string]any
		if err := json.Unmarshal(read(out+"/adapter/adapter_config.json"), &config); err != nil {
			t.Fatal(err)
		}
		return config
	}
	eva := recipe("eva", "init_lora_weights: eva, eva_config: {rho: 2.0, tau: 0.9}")
	config := train("eva", eva)
	if ranks, _ := config["rank_pattern"].(map[string]any); len(ranks) == 0 || config["init_lora_weights"] != "eva" {
		t.Errorf("the ranks were not given to the modules that need them: %v", config)
	}
	for _, when := range []string{"stages/before.json", "stages/init.json"} { // in the pass over the data; while training
		out := "killed-" + when[len("stages/"):]
		c := adaptflow(args(out, eva)...)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for range 3000 {
			if _, err := os.Stat(b.path(out + "/" + when)); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		c.Process.Kill()
		c.Wait()
		train(out, eva)
		if !bytes.Equal(read("eva/adapter/adapter_model.safetensors"), read(out+"/adapter/adapter_model.safetensors")) {
			t.Errorf("killed after %s: other bytes", when)
		}
	}
	config = train("loftq", recipe("loftq", "init_lora_weights: loftq, loftq_config: {loftq_bits: 4, loftq_iter: 1}"))
	if config["init_lora_weights"] != "loftq" {
		t.Errorf("init_lora_weights is %v", config["init_lora_weights"])
	}
	// The base is its codes' values from the first step on, so LoftQ's first loss is another than that of plain weights.
	train("plain", recipe("plain", "init_lora_weights: true"))
	first := func(out string) float64 {
		m, err := report.ReadMetrics(b.path(out))
		if err != nil {
			t.Fatal(err)
		}
		return m.Train.Loss[0]
	}
	if a, p, e := first("loftq"), first("plain"), first("eva"); a == p || e != p {
		t.Errorf("the first losses are %g (LoftQ), %g (EVA, whose B is zero), %g (plain)", a, e, p)
	}
	// LoRA-FA trains B alone, and its card counts no more than its metrics do.
	if code, _, stderr := ended(t, adaptflow(append(args("fa", recipe("fa", "init_lora_weights: true")), "--set",
		"train.optim=lorafa")...)); code != 0 {
		t.Fatalf("lorafa: exit code %d: %s", code, stderr)
	}
	count := func(out string) int64 {
		m, err := report.ReadMetrics(b.path(out))
		if err != nil {
			t.Fatal(err)
		}
		if n := m.Train.Trainable; !bytes.Contains(read(out+"/adapter/README.md"), fmt.Appendf(nil, " with %d trainable parameters ", n)) {
			t.Errorf("%s: the card does not count %d trainable parameters", out, n)
		}
		return m.Train.Trainable
	}
	if a, b := count("plain"), count("fa"); b >= a {
		t.Errorf("LoRA trains %d values, LoRA-FA %d", a, b)
	}
	// What LoftQ cannot have says so before anything is written.
	code, _, stderr := ended(t, adaptflow(args("none", recipe("none", "init_lora_weights: loftq"))...))
	if code == 0 || !strings.Contains(errorLine(t, stderr), "loftq_config") {
		t.Errorf("loftq without its configuration: exit code %d: %s", code, stderr)
	}
}
