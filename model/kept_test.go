package model_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// inBlocks writes the GGUF file at path again with its matrices in blocks, whose types take turns, and says how many have any.
func inBlocks(t *testing.T, path, to string) (matrices int) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	types := []ggml.Type{ggml.Q8_0, ggml.Q4_0, ggml.Q5_0, ggml.Q4_1, ggml.Q6_K, ggml.Q5_1}
	var ts []gguf.Tensor
	for _, name := range f.Order() {
		info, _ := f.Tensor(name)
		x, err := f.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		kind := info.Type
		if len(info.Shape) == 2 {
			if k := types[matrices%len(types)]; info.Shape[1]%ggml.Of(k).Block == 0 {
				kind = k
			} else if info.Shape[1]%32 == 0 {
				kind = ggml.Q8_0
			}
			if kind != info.Type {
				matrices++
			}
		}
		ts = append(ts, gguf.Values(name, kind, x, info.Shape...))
	}
	if err := gguf.Write(to, f.Meta, ts); err != nil {
		t.Fatal(err)
	}
	return matrices
}

// folderOf makes a model's folder of a GGUF file.
func folderOf(t *testing.T, path string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := model.GGUFConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(dir, model.GGUFFile)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestKept: a model of every family whose blocks are kept has the logits, to the bit, of the one whose blocks are widened, in less memory:
// rows in another order, parts of fused tensors, Conv1D, tied and scaled embeddings.
func TestKept(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "gguf", "*.gguf"))
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".gguf"), func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "blocks.gguf")
			if n := inBlocks(t, path, to); n < 6 {
				t.Fatalf("%d matrices have blocks", n)
			}
			dir := folderOf(t, to)
			for _, dtype := range []string{"float32", "bfloat16"} {
				logits := func(as string) ([]float32, int64) {
					m, err := model.LoadAs(dir, as)
					if err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					s, _ := nn.FromBatch([]int64{1, 5, 9, 33, 7, 40, 12, 3, 3, 21}, nil, nil, 2, 5)
					return slices.Clone(compile(t, m, nn.ModeLogits, s, 0).Forward(s, false)), m.Bytes()
				}
				want, wide := logits(dtype)
				got, kept := logits(dtype + "+keep")
				for i, v := range want {
					if math.Float32bits(v) != math.Float32bits(got[i]) {
						t.Fatalf("%s: logit %d is %v, of the widened base %v", dtype, i, got[i], v)
					}
				}
				if kept >= wide {
					t.Errorf("%s: kept blocks take %d bytes, widened %d", dtype, kept, wide)
				}
			}
		})
	}
}

// TestKeptRefused: a folder without blocks, and blocks that hold no numbers, are refused with what to do.
func TestKeptRefused(t *testing.T) {
	if _, err := model.LoadAs(filepath.Join("testdata", "variants", "llama_linear"), "float32+keep"); err == nil ||
		!strings.Contains(err.Error(), "leave model.gguf out") {
		t.Errorf("a folder of safetensors: %v", err)
	}
	to := filepath.Join(t.TempDir(), "blocks.gguf")
	inBlocks(t, filepath.Join("testdata", "gguf", "llama_linear.gguf"), to)
	dir := folderOf(t, to)
	f, err := gguf.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := f.Tensor("blk.0.attn_q.weight")
	f.Close()
	file, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt([]byte{0x00, 0x7e}, info.Begin) // the scale of the first block: NaN
	if cerr := file.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	for _, as := range []string{"float32+keep", "bfloat16+keep", "float32"} {
		if _, err := model.LoadAs(dir, as); err == nil || !strings.Contains(err.Error(), "q_proj.weight") {
			t.Errorf("%s: %v", as, err)
		}
	}
}
