package model_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/model"
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
	r, err := model.FromConfig([]byte(`{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":16,"intermediate_size":16,"num_hidden_layers":1,
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
	if err := q.Save(filepath.Join(t.TempDir(), "m"), "", map[string][]float32{"model.norm.weight": make([]float32, 64)}); err == nil || !strings.Contains(err.Error(), "quantised") {
		t.Errorf("%v", err)
	}
	if err := q.SaveQuantized(t.TempDir(), model.Quantization{Type: "nf4"}); err == nil {
		t.Error("a quantised model was quantised again")
	}
	if err := m.SaveQuantized(t.TempDir(), model.Quantization{Type: "nf5"}); err == nil {
		t.Error("an unknown code was accepted")
	}
}
