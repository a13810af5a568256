package model_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

func load(t *testing.T, dir string) *model.Model {
	t.Helper()
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSave writes a sharded model over an older sharded one: one file with the changed weight is left, and loads.
func TestSave(t *testing.T) {
	from := filepath.Join("testdata", "models", "llama_sharded")
	m := load(t, from)
	dst := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dst, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	const name = "model.norm.weight"
	w, err := m.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	w[0] = 7.5
	if err := m.Save(dst, "", map[string][]float32{name: w}); err != nil {
		t.Fatal(err)
	}
	again := load(t, dst)
	if got, err := again.Tensor(name); err != nil || !slices.Equal(got, w) {
		t.Errorf("the changed weight: %v", err)
	}
	if old, _ := filepath.Glob(filepath.Join(dst, "*-of-*")); len(old) > 0 {
		t.Errorf("shards of the older model are left: %v", old)
	}
	if _, err := os.Stat(filepath.Join(dst, "model.safetensors.index.json")); err == nil {
		t.Error("the index of the older model is left")
	}
	err = m.Save(dst, "", map[string][]float32{"z": {1}, "a": {1}, "k": {1}})
	if err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("tensors that are not there: %v", err)
	}
	if err := m.Save(dst, "int4", nil); err == nil {
		t.Error("an unknown dtype was accepted")
	}
	r,
		err := model.FromConfig([]byte(`{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":16,"intermediate_size":16,"num_hidden_layers":1,
		"num_attention_heads":2,"vocab_size":32,"hidden_act":"silu","max_position_embeddings":32,"rms_norm_eps":1e-6,"tie_word_embeddings":true}`), 0, "float32")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Save(dst, "", nil); err == nil {
		t.Error("a model without files was written")
	}
}

// TestQuantizedIsNotChanged refuses to put merged weights into 4-bit codes.
func TestQuantizedIsNotChanged(t *testing.T) {
	m := load(t, filepath.Join("testdata", "models", "llama_gqa"))
	dst := filepath.Join(t.TempDir(), "q")
	if err := m.SaveQuantized(dst, model.Quantization{Type: "nf4", Double: true}); err != nil {
		t.Fatal(err)
	}
	q := load(t, dst)
	if err := q.Save(filepath.Join(t.TempDir(), "m"), "", map[string][]float32{"model.norm.weight": make([]float32, 64)}); err == nil ||
		!strings.Contains(err.Error(), "quantised") {
		t.Errorf("%v", err)
	}
	if err := q.SaveQuantized(t.TempDir(), model.Quantization{Type: "nf4"}); err == nil {
		t.Error("a quantised model was quantised again")
	}
	if err := m.SaveQuantized(t.TempDir(), model.Quantization{Type: "nf5"}); err == nil {
		t.Error("an unknown code was accepted")
	}
}

// TestQuantizedCheckpoints writes every kind of quantised folder: read again it gives the logits of the model quantised as it is loaded.
func TestQuantizedCheckpoints(t *testing.T) {
	for _, name := range []string{"llama_gqa", "gpt2"} {
		for _, q := range []struct {
			model.Quantization
			storage string
		}{{model.Quantization{Type: "nf4", Double: true}, "nf4_dq"}, {model.Quantization{Type: "fp4"}, "fp4"},
			{model.Quantization{Type: "int8"}, "int8"}} {
			t.Run(name+" "+q.Type, func(t *testing.T) {
				src, dst := filepath.Join("testdata", "models", name), filepath.Join(t.TempDir(), "q")
				err := load(t, src).SaveQuantized(dst, q.Quantization)
				if name == "gpt2" && q.Type != "int8" {
					if err == nil || !strings.Contains(err.Error(), "Conv1D") {
						t.Errorf("%v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				direct, err := model.LoadAs(src, "float32+"+q.storage)
				if err != nil {
					t.Fatal(err)
				}
				s, _ := nn.FromBatch([]int64{3, 1, 4, 1, 5, 9, 2, 6}, nil, nil, 1, 8)
				want := slices.Clone(compile(t, direct, nn.ModeLogits, s, 0).Forward(s, false))
				got := compile(t, load(t, dst), nn.ModeLogits, s, 0).Forward(s, false)
				if !slices.Equal(got, want) {
					t.Error("the folder gives other logits than the model quantised when loaded")
				}
			})
		}
	}
}

// TestDamagedInt8 refuses checkpoints whose parts do not belong together.
func TestDamagedInt8(t *testing.T) {
	good := filepath.Join(t.TempDir(), "q")
	if err := load(t, filepath.Join("testdata", "models", "llama_gqa")).SaveQuantized(good, model.Quantization{Type: "int8"}); err != nil {
		t.Fatal(err)
	}
	const module = "model.layers.0.self_attn.q_proj"
	src, err := safetensors.OpenDir(good)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for what, c := range map[string]struct {
		name string
		t    safetensors.Tensor
		want string
	}{
		"too few scales": {module + ".SCB", safetensors.F32("", make([]float32, 5), 5), "5 values"},
		"a scale that is not a number": {module + ".SCB",
			safetensors.F32("", slices.Repeat([]float32{float32(math.NaN())}, 64), 64), "NaN"},
		"another order": {module + ".weight_format",
			safetensors.Tensor{DType: "U8", Shape: []int{}, Raw: []byte{1}}, "old versions"},
		"plain weights": {module + ".weight", safetensors.F32("", make([]float32, 64*64), 64, 64), "I8"},
	} {
		dir := t.TempDir()
		for _, f := range []string{"config.json"} {
			raw, err := os.ReadFile(filepath.Join(good, f))
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(filepath.Join(dir, f), raw, 0o666)
		}
		var ts []safetensors.Tensor
		for _, n := range src.Names() {
			x := safetensors.Copy(src, n)
			if n == c.name {
				x = c.t
				x.Name = n
			}
			ts = append(ts, x)
		}
		if err := safetensors.Write(filepath.Join(dir, "model.safetensors"), ts, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := model.Load(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), module) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
