package infer

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// TestMergeTied merges adapters into a model whose head shares the embedding's weight: where they make the two differ the
// merged model is no longer tied and holds both, in each dtype. Merge itself compares the logits.
func TestMergeTied(t *testing.T) {
	const base, cases = "../model/testdata/models/llama_tied", "../peft/testdata/peft/llama_tied"
	for name, tied := range map[string]bool{"lora_tied_embedding": false, "lora_untied_save": false, "lora_weight_tying": true,
		"lora_weight_tying_save":     true,
		"lora_trainable_tokens_tied": true} {
		for dtype, stored := range map[string]string{"": "F32", "bfloat16": "BF16"} {
			to := filepath.Join(t.TempDir(), name)
			if err := Merge(base, filepath.Join(cases, name, "adapter"), to, dtype, 1); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			raw, err := os.ReadFile(filepath.Join(to, "config.json"))
			if err != nil {
				t.Fatal(err)
			}
			var config struct {
				Tied bool `json:"tie_word_embeddings"`
			}
			if err := json.Unmarshal(raw, &config); err != nil {
				t.Fatal(err)
			}
			f, err := safetensors.OpenDir(to)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			head, has := f.Info("lm_head.weight")
			if config.Tied != tied || has == tied || has && head.DType != stored {
				t.Errorf("%s as %q: tie_word_embeddings is %v, lm_head.weight is there: %v, in %s",
					name, dtype, config.Tied, has, head.DType)
			}
		}
	}
}

// TestMergeWeight merges a share of what adapters change: every tensor lies so far between the base's and the merged one.
func TestMergeWeight(t *testing.T) {
	const base, cases = "../model/testdata/models/llama_tied", "../peft/testdata/peft/llama_tied"
	read := func(dir string) map[string][]float32 {
		f, err := safetensors.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		out := map[string][]float32{}
		for _, n := range f.Names() {
			if out[n], err = f.Float32(n); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	from := read(base)
	for _, name := range []string{"lora_weight_tying", "lora_tied_embedding"} {
		adapter := filepath.Join(cases, name, "adapter")
		at := map[float64]map[string][]float32{}
		for _, w := range []float64{0, 0.25, 1, -1} {
			to := filepath.Join(t.TempDir(), "merged")
			if err := Merge(base, adapter, to, "float32", w); err != nil {
				t.Fatalf("%s with a weight of %g: %v", name, w, err)
			}
			at[w] = read(to)
		}
		moved := 0
		for n, whole := range at[1] {
			start, ok := from[n]
			if !ok {
				start = from["model.embed_tokens.weight"] // of a head that is no longer tied
			}
			for i, x := range whole {
				d := x - start[i]
				if d != 0 {
					moved++
				}
				for w, got := range at {
					if e := math.Abs(float64(got[n][i] - (start[i] + float32(w)*d))); e > 1e-6 {
						t.Fatalf("%s with a weight of %g: %s[%d] is off by %g", name, w, n, i, e)
					}
				}
			}
		}
		if moved == 0 {
			t.Errorf("%s changes nothing", name)
		}
	}
	adapter := filepath.Join(cases, "lora_weight_tying", "adapter")
	if err := Merge(base, adapter, filepath.Join(t.TempDir(), "x"), "", math.NaN()); err == nil {
		t.Error("a weight that is not a number is taken")
	}
}

// TestMergeWeightOutOfProportion: a weight by which a tensor leaves the range of its storage is named as the cause, and leaves
// no model behind.
func TestMergeWeightOutOfProportion(t *testing.T) {
	base := filepath.Join("..", "model", "testdata", "models", "llama_tied")
	adapter := filepath.Join("..", "peft", "testdata", "peft", "llama_tied", "lora_weight_tying", "adapter")
	for _, c := range []struct {
		weight float64
		dtype  string
		want   string
	}{
		{1e300, "", "a weight of 1e+300"}, {-1e300, "float32", "a weight of -1e+300"}, {3e38, "float32", "a weight of 3e+38"},
		{1e300, "bfloat16", "a weight of 1e+300"},
		{1e6, "float16", "float16"},
	} {
		to := filepath.Join(t.TempDir(), "merged")
		err := Merge(base, adapter, to, c.dtype, c.weight)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "damaged") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("a weight of %g in %q: %v", c.weight, c.dtype, err)
		}
		if _, err := os.Stat(filepath.Join(to, "config.json")); err == nil {
			t.Errorf("a weight of %g in %q leaves a model", c.weight, c.dtype)
		}
	}
}
