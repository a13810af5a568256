package model_test

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/model"
)

// written writes a model's weights with the package's own writer.
func written(t *testing.T, m *model.Model, sizes map[string]int, load func(string) ([]float32, error), kind ggml.Type) (*gguf.File, error) {
	t.Helper()
	meta, extra, err := m.Config.GGUFMeta()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.GGUFWeights(sizes, load, extra, func(_ string, shape []int) ggml.Type {
		if len(shape) == 1 {
			return ggml.F32
		}
		return kind
	})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := gguf.Write(path, meta, w.Tensors); err != nil {
		return nil, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, nil
}

// TestGGUFWeights: what is written of a folder has the tensors, byte for byte, and the keys of the architecture that llama.cpp's converter
// writes of it.
func TestGGUFWeights(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "gguf", "*.gguf"))
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	cases := ggufCases(t)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".gguf")
		dir := cases[slices.IndexFunc(cases, func(d string) bool { return filepath.Base(d) == name })]
		if patch, ok := ggufConverted[name]; ok {
			dir = changed(t, dir, patch)
		} else if patch, ok := ggufPatched[name]; ok {
			dir = changed(t, dir, patch)
		}
		m, err := model.LoadAs(dir, "float32@reread")
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if name == "qwen3_sliding" { // its biases are refused, which llama.cpp leaves out without a word
			if _, _, err := m.Config.GGUFMeta(); err == nil || !strings.Contains(err.Error(), "attention_bias") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		got, err := written(t, m, nil, nil, ggml.F32)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer want.Close()
		names := slices.Clone(want.Names())
		if name == "gptneox_tied" { // llama.cpp does not load the file that its converter makes of a tied head
			names = append(names, "output.weight")
			slices.Sort(names)
			a, _ := got.Float32("output.weight")
			if b, err := want.Float32("token_embd.weight"); err != nil || !slices.Equal(a, b) {
				t.Errorf("%s: the head is not the embedding (%v)", name, err)
			}
		}
		if !slices.Equal(got.Names(), names) {
			t.Errorf("%s has the tensors %v, by llama.cpp %v", name, got.Names(), names)
			continue
		}
		for _, n := range want.Names() {
			a, _ := got.Float32(n)
			b, err := want.Float32(n)
			i, _ := got.Tensor(n)
			j, _ := want.Tensor(n)
			same := slices.Equal(a, b) || n == "rope_freqs.weight" && slices.EqualFunc(a, b, func(a, b float32) bool {
				return math.Abs(float64(a-b)) < 1e-6*math.Abs(float64(b)) // torch computes them in float32
			})
			if err != nil || !same || !slices.Equal(i.Shape, j.Shape) {
				t.Errorf("%s: %s of shape %v is not llama.cpp's of %v, %v", name, n, i.Shape, j.Shape, err)
			}
		}
	}
}

// TestGGUFReplaced: a tensor that takes another's place is written in it, in the file's order of rows, and an untied head is added.
func TestGGUFReplaced(t *testing.T) {
	m, err := model.LoadAs("testdata/models/llama_gqa", "float32@reread")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const q = "model.layers.0.self_attn.q_proj.weight"
	s, _ := m.Stored(q)
	x := make([]float32, s.Shape[0]*s.Shape[1])
	for i := range x {
		x[i] = float32(i / s.Shape[1])
	}
	sizes := map[string]int{q: len(x)}
	load := func(name string) ([]float32, error) {
		if name != q {
			return nil, errors.New("asked for " + name)
		}
		return x, nil
	}
	f, err := written(t, m, sizes, load, ggml.F32)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Float32("blk.0.attn_q.weight")
	if err != nil {
		t.Fatal(err)
	}
	half := m.Config.HeadDim / 2
	if got[0] != 0 || got[s.Shape[1]] != float32(half) || got[2*s.Shape[1]] != 1 {
		t.Errorf("the first rows are %v, %v, %v; want 0, %d, 1", got[0], got[s.Shape[1]], got[2*s.Shape[1]], half)
	}
	x[5] = 1e6
	if _, err := written(t, m, sizes, load, ggml.F16); err == nil || !strings.Contains(err.Error(), "beyond what float16 holds") {
		t.Errorf("a million in half precision: %v", err)
	}
	sizes["model.norm.x"] = 1
	if _, err := written(t, m, sizes, load, ggml.F32); err == nil || !strings.Contains(err.Error(), `no tensor "model.norm.x" to replace`) {
		t.Errorf("a tensor that is not there: %v", err)
	}
}
