package infer

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/peft"
)

const embeddingsDir = "testdata/embeddings"

// logitsOf writes and reads the logits of a model for a case's input.
func logitsOf(t *testing.T, l *Model, input string, names ...string) []float32 {
	t.Helper()
	to := filepath.Join(t.TempDir(), "logits.safetensors")
	if err := l.Logits(input, to, names...); err != nil {
		t.Fatal(err)
	}
	return golden.Open(t, to).F32("logits")
}

// TestGoldenEmbeddings opens adapters that bring an embedding and a head, of the base's vocabulary or of another: their logits
// are HF PEFT's, alone, saved again, and merged into a model of the adapter's vocabulary.
func TestGoldenEmbeddings(t *testing.T) {
	for _, name := range golden.Dirs(t, embeddingsDir) {
		if name == "bases" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			c := golden.JSON[struct {
				Base       string
				Vocabulary int
			}](t, filepath.Join(embeddingsDir, name, "case.json"))
			base, dir := filepath.Join(embeddingsDir, "bases", c.Base), filepath.Join(embeddingsDir, name)
			adapter, input := filepath.Join(dir, "adapter"), filepath.Join(dir, "expected.safetensors")
			want := golden.Open(t, input).F32("logits")
			check := func(what, base, adapter string) *Model {
				t.Helper()
				l, err := Load(base, "", adapter)
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if d := golden.MaxDiff(logitsOf(t, l, input), want); d > 1e-5 {
					t.Errorf("%s: the logits are off by %g", what, d)
				}
				return l
			}
			l := check("the adapter", base, adapter)
			saved := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
			for i, to := range saved {
				if err := l.Adapter.Save(to, l.Params, 0, peft.Card{}); err != nil {
					t.Fatal(err)
				}
				l.Close()
				l = check("saved "+string(rune('1'+i)), base, to)
			}
			defer l.Close()
			a, b := read(t, peft.TensorPath(saved[0])), read(t, peft.TensorPath(saved[1]))
			if !bytes.Equal(a, b) {
				t.Error("saved again the tensors' file has other bytes")
			}
			if _, ok := l.Adapter.Method.(peft.Merger); !ok {
				return
			}
			to := filepath.Join(t.TempDir(), "merged")
			if err := Merge(base, adapter, to, "", 1); err != nil {
				t.Fatal(err)
			}
			check("merged", to, "").Close()
			config := golden.JSON[struct {
				V int `json:"vocab_size"`
			}](t, filepath.Join(to, "config.json"))
			if config.V != c.Vocabulary {
				t.Errorf("the merged model says vocab_size %d, want %d", config.V, c.Vocabulary)
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEmbeddingsCombine combines adapters and loads them side by side over the base that they grow.
func TestEmbeddingsCombine(t *testing.T) {
	base, adapter := embeddingsDir+"/bases/llama", embeddingsDir+"/llama_grown/adapter"
	input := embeddingsDir + "/llama_grown/expected.safetensors"
	want := golden.Open(t, input).F32("logits")
	to := filepath.Join(t.TempDir(), "both")
	if err := Combine(base, []string{adapter, adapter}, peft.Combination{Type: "cat", Weights: []float64{0.5, 0.5}}, to); err != nil {
		t.Fatal(err)
	}
	one, err := Load(base, "", to)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	several, err := LoadNamed(base, "", Named{"a", adapter}, Named{"b", adapter})
	if err != nil {
		t.Fatal(err)
	}
	defer several.Close()
	for what, got := range map[string][]float32{"combined": logitsOf(t, one, input), "side by side": logitsOf(t, several, input, "b")} {
		if d := golden.MaxDiff(got, want); d > 1e-5 {
			t.Errorf("%s: the logits are off by %g", what, d)
		}
	}
}

// TestEmbeddingsTokenizer takes the tokenizer that an adapter's folder has: it is copied to the merged model.
func TestEmbeddingsTokenizer(t *testing.T) {
	adapter := filepath.Join(t.TempDir(), "adapter")
	if err := os.CopyFS(adapter, os.DirFS(embeddingsDir+"/llama_grown/adapter")); err != nil {
		t.Fatal(err)
	}
	want := []byte(`{"made": "with the adapter"}`)
	if err := os.WriteFile(filepath.Join(adapter, "tokenizer.json"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "merged")
	if err := Merge(embeddingsDir+"/bases/llama", adapter, to, "", 1); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(to, "tokenizer.json")); !bytes.Equal(got, want) {
		t.Errorf("the merged model has the tokenizer %s", got)
	}
}

// TestEmbeddingsRefused names what is wrong with an adapter whose embeddings cannot be taken.
func TestEmbeddingsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		from, base string
		change     func(ts map[string]safetensors.Tensor)
		want       string
	}{
		"a head is missing": {"llama_grown", "llama", func(ts map[string]safetensors.Tensor) {
			delete(ts, "base_model.model.lm_head.weight")
		}, "the adapter has no lm_head.weight"},
		"another width": {"llama_grown", "llama", func(ts map[string]safetensors.Tensor) {
			ts["base_model.model.lm_head.weight"] = safetensors.F32("base_model.model.lm_head.weight", make([]float32, 53*8), 53, 8)
		}, "lm_head has 16 values a token"},
		"rows of two numbers": {"llama_grown", "llama", func(ts map[string]safetensors.Tensor) {
			ts["base_model.model.lm_head.weight"] = safetensors.F32("base_model.model.lm_head.weight", make([]float32, 50*16), 50, 16)
		}, "embedding and head have one vocabulary"},
		"a tied head that differs": {"tied_grown", "tied", func(ts map[string]safetensors.Tensor) {
			ts["base_model.model.lm_head.weight"].Data[3]++
		}, "tie_word_embeddings"},
		"another copy of a trained one": {"llama_grown_modules_to_save", "llama", func(ts map[string]safetensors.Tensor) {
			ts["base_model.model.lm_head.modules_to_save.weight"].Data[3]++
		}, "are one parameter, but they differ"},
	} {
		adapter := filepath.Join(t.TempDir(), "adapter")
		if err := os.CopyFS(adapter, os.DirFS(filepath.Join(embeddingsDir, c.from, "adapter"))); err != nil {
			t.Fatal(err)
		}
		f := golden.Open(t, peft.TensorPath(adapter))
		ts := map[string]safetensors.Tensor{}
		for _, n := range f.Names() {
			ts[n] = safetensors.F32(n, f.F32(n), f.Shape(n)...)
		}
		c.change(ts)
		var list []safetensors.Tensor
		for _, n := range slices.Sorted(maps.Keys(ts)) {
			list = append(list, ts[n])
		}
		if err := safetensors.Write(peft.TensorPath(adapter), list, nil); err != nil {
			t.Fatal(err)
		}
		_, err := Load(filepath.Join(embeddingsDir, "bases", c.base), "", adapter)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want it to say %q", what, err, c.want)
		}
	}
}

// TestNewerConfig opens an adapter whose configuration a later version of PEFT wrote: its logits are the same, and a warning
// names the field.
func TestNewerConfig(t *testing.T) {
	base, input := embeddingsDir+"/bases/llama", embeddingsDir+"/llama_saved/expected.safetensors"
	adapter := filepath.Join(t.TempDir(), "adapter")
	if err := os.CopyFS(adapter, os.DirFS(embeddingsDir+"/llama_saved/adapter")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(adapter, peft.ConfigFile)
	for _, fields := range []string{`{"brand_new_config": null,`,
		`{"task_type": null, "auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "x"},`} {
		raw := bytes.Replace(read(t, embeddingsDir+"/llama_saved/adapter/"+peft.ConfigFile), []byte("{"), []byte(fields), 1)
		raw = bytes.ReplaceAll(raw, []byte(`"auto_mapping": null,`), nil)
		if strings.Contains(fields, "task_type") {
			raw = bytes.ReplaceAll(raw, []byte(`"task_type": "CAUSAL_LM",`), nil)
		}
		if err := os.WriteFile(path, raw, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := Load(base, "", adapter)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if d := golden.MaxDiff(logitsOf(t, l, input), golden.Open(t, input).F32("logits")); d > 1e-5 {
			t.Errorf("%s: the logits are off by %g", fields, d)
		}
		name := strings.Split(fields, `"`)[1]
		if name == "task_type" {
			name = "auto_mapping"
		}
		if w := strings.Join(Warnings(base, base, adapter), "\n"); !strings.Contains(w, name) {
			t.Errorf("the warning is %q, want it to name %s", w, name)
		}
	}
}
