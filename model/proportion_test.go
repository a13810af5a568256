package model

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// TestSizesOutOfProportion changes every whole number of config.json to ones that no model has: an error that names what is wrong, or a
// model that the number is nothing to, and in either case before memory or time is taken for it.
func TestSizesOutOfProportion(t *testing.T) {
	for _, family := range []string{"llama_gqa", "gpt2", "gptneox"} {
		from := filepath.Join("testdata", "models", family)
		raw, err := os.ReadFile(filepath.Join(from, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		var config map[string]any
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		weights, err := os.ReadFile(filepath.Join(from, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "model.safetensors"), weights, 0o644); err != nil {
			t.Fatal(err)
		}
		config["num_labels"] = 3.0
		for key, old := range config {
			if v, ok := old.(float64); !ok || v != math.Trunc(v) {
				continue
			}
			for _, n := range []string{"9223372036854775807", "4611686018427387905", "100000000", "-9223372036854775808", "1e300"} {
				changed := map[string]any{}
				for k, v := range config {
					changed[k] = v
				}
				changed[key] = json.RawMessage(n)
				text, err := json.Marshal(changed)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
					t.Fatal(err)
				}
				for _, task := range []Task{{}, {Type: "SEQ_CLS"}} {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					m, err := LoadTask(dir, "float32", task)
					runtime.ReadMemStats(&after)
					what := fmt.Sprintf("%s: %s=%s %s", family, key, n, task.Type)
					if used := after.TotalAlloc - before.TotalAlloc; used > 1200<<20 {
						t.Errorf("%s: %d MiB", what, used>>20)
					}
					if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 500) {
						t.Errorf("%s: %v", what, err)
					}
					if sizes := []string{"hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size", "n_layer",
						"n_embd"}; err == nil && slices.Contains(sizes, key) {
						t.Errorf("%s: no error", what)
					}
					if err == nil {
						m.Close()
					}
				}
			}
		}
	}
}
