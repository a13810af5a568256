package model_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// ggufCases are the folders of the tests that a GGUF file can have.
func ggufCases(t *testing.T) (dirs []string) {
	for _, room := range []string{"models", "variants"} {
		for _, name := range golden.Dirs(t, filepath.Join("testdata", room)) {
			dirs = append(dirs, filepath.Join("testdata", room, name))
		}
	}
	return dirs
}

// toGGUF writes a model's folder as a GGUF file by the tables.
func toGGUF(m *model.Model, dir, path string) error {
	src, err := safetensors.OpenDir(dir)
	if err != nil {
		return err
	}
	defer src.Close()
	meta, more, err := m.Config.GGUFMeta()
	if err != nil {
		return err
	}
	for i, id := range []int32{m.Config.BOS, m.Config.PAD} {
		if id >= 0 {
			meta.Set([]string{"tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id"}[i], uint32(id))
		}
	}
	var ts []gguf.Tensor
	for _, e := range more {
		ts = append(ts, gguf.Values(e.Name, ggml.F32, e.Values, len(e.Values)))
	}
	for _, name := range src.Names() {
		info, _ := src.Info(name)
		if !strings.Contains(name, ".") || info.DType == "U8" || strings.HasSuffix(name, "masked_bias") ||
			strings.HasSuffix(name, "inv_freq") ||
			strings.HasSuffix(name, ".attn.bias") || strings.HasSuffix(name, ".attention.bias") {
			continue
		}
		param := name
		if _, err := m.Config.GGUFTensor(param); err != nil && m.Config.ModelType == "gpt2" {
			param = "transformer." + name
		}
		to, err := m.Config.GGUFTensor(param)
		if err != nil {
			return err
		}
		if back, err := m.Config.GGUFParameter(to.Name); err != nil || back.Param != to.Param || back.Transposed != to.Transposed {
			return fmt.Errorf("%s is %s, and that is %s, %v", param, to.Name, back.Param, err)
		}
		if m.Config.Tied && to.Name == "output.weight" {
			continue
		}
		x, err := src.Float32(name)
		if err != nil {
			return err
		}
		shape := slices.Clone(info.Shape)
		if to.Transposed {
			y := make([]float32, len(x))
			for i := range shape[0] {
				for o := range shape[1] {
					y[o*shape[0]+i] = x[i*shape[1]+o]
				}
			}
			x = y
			slices.Reverse(shape)
		}
		if to.Rows != nil {
			width := len(x) / shape[0]
			y := make([]float32, 0, len(x))
			for r := range shape[0] {
				from := to.Rows(r) * width
				y = append(y, x[from:from+width]...)
			}
			x = y
		}
		for i := range x {
			x[i] += to.Add
		}
		ts = append(ts, gguf.Values(to.Name, ggml.F32, x, shape...))
	}
	return gguf.Write(path, meta, ts)
}

// ggufFolder makes a model's folder of a GGUF file, with the golden values of another folder.
func ggufFolder(t *testing.T, path, values string) string {
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
	for _, n := range []string{"inputs.safetensors", "expected.safetensors", "meta.json"} {
		b, err := os.ReadFile(filepath.Join(values, n))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, n), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n, b := range map[string][]byte{"config.json": raw, model.GGUFFile: b} {
		if err := os.WriteFile(filepath.Join(dir, n), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGGUFRoundTrip: a folder of every family that is written by the tables and read by them gives transformers' numbers, and the weights,
// bit for bit, but for norms that were moved by 1.
func TestGGUFRoundTrip(t *testing.T) {
	ran := map[string]bool{}
	for _, dir := range ggufCases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			patch, patched := ggufPatched[filepath.Base(dir)]
			if patched {
				dir = changed(t, dir, patch)
			}
			m, err := model.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			path := filepath.Join(t.TempDir(), "x.gguf")
			err = toGGUF(m, dir, path)
			if why, cannot := ggufCannot[filepath.Base(dir)]; cannot {
				if err == nil || !strings.Contains(err.Error(), why) {
					t.Fatalf("%v, want %s", err, why)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			back := ggufFolder(t, path, dir)
			if patched {
				sameLogits(t, m, back)
			} else {
				goldenModel(t, back)
			}
			sameWeights(t, dir, back)
			arch, _ := m.Config.GGUFArchitecture()
			ran[arch] = true
		})
	}
	for _, arch := range []string{"llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gpt2", "gptneox", "phi2", "phi3"} {
		if !ran[arch] {
			t.Errorf("no folder of the architecture %s was tried", arch)
		}
	}
}

// ggufCannot says what llama.cpp's architectures cannot have of the folders.
var ggufCannot = map[string]string{
	"gptneox_dynamic": `rope_scaling of the type "dynamic"`, "llama_dynamic": `rope_scaling of the type "dynamic"`,
	"qwen2_dynamic": `rope_scaling of the type "dynamic"`, "gptneox_seq": "attention_bias: false",
	"llama_yarn": "mscale_all_dim or truncate: false", "mistral_yarn": "mscale_all_dim or truncate: false",
	"opt_plain": "OPTForCausalLM has no architecture in GGUF", "opt_post": "OPTForCausalLM has no architecture in GGUF",
	"qwen2_sliding": "use_sliding_window: true",
}

// ggufPatched are settings of folders in place of those that llama.cpp cannot have.
var ggufPatched = map[string]map[string]any{
	"gemma2": {"query_pre_attn_scalar": 16}, "gemma3_text": {"query_pre_attn_scalar": 16}, "gemma3_pattern": {"query_pre_attn_scalar": 8},
	"qwen3_sliding": {"use_sliding_window": false, "layer_types": nil, "attention_bias": false},
}

// changed is a copy of a folder with other settings; without biases where attention_bias is false.
func changed(t *testing.T, dir string, patch map[string]any) string {
	t.Helper()
	config := golden.JSON[map[string]any](t, filepath.Join(dir, "config.json"))
	maps.Copy(config, patch)
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "config.json"), []byte(jsonOf(config)), 0o666); err != nil {
		t.Fatal(err)
	}
	if patch["attention_bias"] == false {
		src, err := safetensors.OpenDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer src.Close()
		var ts []safetensors.Tensor
		for _, name := range src.Names() {
			if !strings.HasSuffix(name, ".bias") {
				ts = append(ts, safetensors.Copy(src, name))
			}
		}
		if err := safetensors.Write(filepath.Join(to, "model.safetensors"), ts, nil); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// sameLogits compares a model with that of a folder on the folder's inputs.
func sameLogits(t *testing.T, a *model.Model, dir string) {
	t.Helper()
	b, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	in := golden.Open(t, filepath.Join(dir, "inputs.safetensors")).Batch("")
	s, _ := nn.FromBatch(in.IDs, in.Mask, nil, in.B, in.T)
	want := slices.Clone(compile(t, a, nn.ModeLogits, s, 0).Forward(s, false))
	if d := golden.MaxDiff(compile(t, b, nn.ModeLogits, s, 0).Forward(s, false), want); !(d < 1e-5) {
		t.Errorf("logits differ by %.2e", d)
	}
}

func sameWeights(t *testing.T, a, b string) {
	t.Helper()
	x, err := model.OpenWeights(a)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	y, err := model.OpenWeights(b)
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	for _, name := range y.Names() {
		from := name
		if _, ok := x.Info(from); !ok {
			from = strings.TrimPrefix(name, "transformer.")
		}
		want, err := x.Float32(from)
		if err != nil {
			t.Fatal(err)
		}
		got, err := y.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		moved := strings.Contains(name, "norm") && strings.Contains(a, "gemma")
		for i, v := range want {
			if d := v - got[i]; d != 0 && !(moved && max(d, -d) < 1e-7) {
				t.Fatalf("%s: value %d is %g, want %g", name, i, got[i], v)
			}
		}
		part := make([]float32, min(len(want)/2, 777))
		if err := y.ReadFloat32(name, part, len(want)/3); err != nil || !slices.Equal(part, got[len(want)/3:][:len(part)]) {
			t.Errorf("%s: a part is other values than the whole has, %v", name, err)
		}
	}
}

// TestGGUFConfig: config.json of a file says what that of the folder said.
func TestGGUFConfig(t *testing.T) {
	dir := filepath.Join("testdata", "models", "llama_gqa")
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := toGGUF(m, dir, path); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	raw, err := model.GGUFConfig(f)
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if want = golden.JSON[map[string]any](t, filepath.Join(dir, "config.json")); !bytes.Contains(raw, []byte(`"torch_dtype": "float32"`)) {
		t.Errorf("%s", raw)
	}
	for _, key := range []string{"architectures", "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads",
		"num_key_value_heads", "intermediate_size", "max_position_embeddings", "rms_norm_eps", "rope_theta", "vocab_size",
		"tie_word_embeddings", "attention_bias", "mlp_bias"} {
		if a, b := jsonOf(got[key]), jsonOf(want[key]); a != b {
			t.Errorf("%s is %s, want %s", key, a, b)
		}
	}
}

func jsonOf(v any) string { b, _ := json.Marshal(v); return string(b) }

// ggufConverted are settings that the converter leaves out, as llama.cpp does not have them.
var ggufConverted = map[string]map[string]any{
	"mistral": {"sliding_window": nil}, "qwen3_sliding": {"use_sliding_window": false, "layer_types": nil},
}

// TestGGUFConverted: files by llama.cpp's own converter (interop/golden/gguf_families.py) give transformers' numbers of the folders
// that they were made of.
func TestGGUFConverted(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "gguf", "*.gguf"))
	if err != nil || len(paths) < 12 {
		t.Fatalf("%d files, %v", len(paths), err)
	}
	cases := ggufCases(t)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".gguf")
		t.Run(name, func(t *testing.T) {
			dir := cases[slices.IndexFunc(cases, func(d string) bool { return filepath.Base(d) == name })]
			patch, patched := ggufConverted[name]
			if !patched {
				patch, patched = ggufPatched[name]
			}
			if !patched {
				goldenModel(t, ggufFolder(t, path, dir))
				return
			}
			m, err := model.Load(changed(t, dir, patch))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			sameLogits(t, m, ggufFolder(t, path, dir))
		})
	}
}
