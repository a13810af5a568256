package folder_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
	"github.com/adaptflow/adaptflow/tokenize/folder"
)

// alphabet are the spellings of the bytes in byte-level BPE.
func alphabet() (out []string) {
	n := rune(0)
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			out = append(out, string(b))
		} else {
			out = append(out, string(256+n))
			n++
		}
	}
	return out
}

// tiny writes a Llama of one layer with a vocabulary of bytes, three words and two special tokens.
func tiny(t *testing.T, path string, edit func(m *gguf.Meta, ts *[]gguf.Tensor)) {
	t.Helper()
	tokens := append(alphabet(), "he", "ll", "hell", "<|im_start|>", "<|im_end|>", "[PAD261]")
	types := append(slices.Repeat([]int32{1}, 259), 3, 4, 5)
	m := gguf.Meta{{Key: "general.architecture", Value: "llama"}, {Key: "llama.block_count", Value: uint32(1)},
		{Key: "llama.context_length", Value: uint32(64)}, {Key: "llama.embedding_length", Value: uint32(8)},
		{Key: "llama.feed_forward_length", Value: uint32(16)}, {Key: "llama.attention.head_count", Value: uint32(2)},
		{Key: "llama.attention.head_count_kv", Value: uint32(1)}, {Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		{Key: "tokenizer.ggml.model", Value: "gpt2"}, {Key: "tokenizer.ggml.pre", Value: "llama-bpe"},
		{Key: "tokenizer.ggml.tokens", Value: tokens}, {Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.merges", Value: []string{"h e", "l l", "he ll"}}, {Key: "tokenizer.ggml.bos_token_id", Value: uint32(259)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(260)},
		{Key: "tokenizer.chat_template", Value: "{% for m in messages %}{{ '<|im_start|>' + m['content'] }}{% endfor %}"}}
	var ts []gguf.Tensor
	for name, shape := range map[string][]int{"token_embd.weight": {262, 8}, "output_norm.weight": {8}, "blk.0.attn_norm.weight": {8},
		"blk.0.ffn_norm.weight": {8}, "blk.0.attn_q.weight": {8, 8}, "blk.0.attn_k.weight": {4, 8}, "blk.0.attn_v.weight": {4, 8},
		"blk.0.attn_output.weight": {8, 8}, "blk.0.ffn_gate.weight": {16, 8}, "blk.0.ffn_up.weight": {16, 8},
		"blk.0.ffn_down.weight": {8, 16}} {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i%7) - 3
		}
		ts = append(ts, gguf.Values(name, ggml.F32, x, shape...))
	}
	if edit != nil {
		edit(&m, &ts)
	}
	if err := gguf.Write(path, m, ts); err != nil {
		t.Fatal(err)
	}
}

// TestOf: a GGUF file is a model's folder with its tokenizer, template and ends; the folder is made once, and again for another file.
func TestOf(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	in := t.TempDir()
	path := filepath.Join(in, "x.gguf")
	tiny(t, path, nil)
	dir, err := folder.Of(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if c := m.Config; c.Architecture != "LlamaForCausalLM" || c.Vocab != 262 || !c.Tied || c.KVHeads != 1 || c.MaxPositions != 64 ||
		!slices.Equal(c.EOS, []int32{260}) || c.BOS != 259 {
		t.Errorf("the configuration is %+v", c)
	}
	tk, err := tokenize.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	// llama-bpe begins texts with bos_token and keeps whole words; what ends a turn is special, whatever its type.
	if ids, err := tk.AppendIDs(nil, "hello<|im_end|>", true); err != nil || !slices.Equal(ids, []int32{259, 258, 'o', 260}) {
		t.Errorf("ids are %v, %v", ids, err)
	}
	if s := tk.Decode([]int32{259, 258, 'o', 260}, true); s != "hello" {
		t.Errorf("decoded is %q", s)
	}
	if _, ok := tk.IDToToken(261); ok {
		t.Error("what fills the vocabulary up is a token")
	}
	set, err := chat.Load(dir)
	if err != nil || len(set) != 1 {
		t.Fatalf("%d templates, %v", len(set), err)
	}
	for _, x := range set {
		r, err := x.Render(chat.Conversation{Messages: []byte(`[{"role": "user", "content": "hello"}]`)}, chat.Options{})
		if err != nil || r.Text != "<|im_start|>hello" {
			t.Errorf("the template gives %q, %v", r.Text, err)
		}
	}
	if got := model.GGUFOf(dir); got != path {
		t.Errorf("the folder is of %s", got)
	}
	for _, p := range []string{path, in} {
		if again, err := folder.Of(p); again != dir || err != nil {
			t.Errorf("%s is %s, %v; want %s", p, again, err, dir)
		}
	}
	text := filepath.Join(in, "x.jsonl")
	if err := os.WriteFile(text, []byte("{}\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Of(text); err == nil || !strings.Contains(err.Error(), text+" is a file and no GGUF file") {
		t.Errorf("a file of text: %v", err)
	}
	if hf, err := folder.Of(dir); hf != dir || err != nil {
		t.Errorf("a folder is %s, %v", hf, err)
	}
	tiny(t, filepath.Join(in, "y.gguf"), nil)
	if _, err := folder.Of(in); err == nil || !strings.Contains(err.Error(), "2 GGUF files") {
		t.Errorf("a folder with two files: %v", err)
	}
	tiny(t, path, func(m *gguf.Meta, _ *[]gguf.Tensor) { m.Set("llama.context_length", uint32(32)) })
	if again, err := folder.Of(path); again == dir || err != nil {
		t.Errorf("another file is %s, %v", again, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := model.Load(dir); err == nil || !strings.Contains(err.Error(), path+": the file that it is made of is gone") {
		t.Errorf("a file that is gone: %v", err)
	}
}

// TestWrong: a file that cannot be a model here is answered in one line that names it and what is wrong.
func TestWrong(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	set := func(key string, v any) func(*gguf.Meta, *[]gguf.Tensor) {
		return func(m *gguf.Meta, _ *[]gguf.Tensor) { m.Set(key, v) }
	}
	without := func(key string) func(*gguf.Meta, *[]gguf.Tensor) {
		return func(m *gguf.Meta, _ *[]gguf.Tensor) {
			*m = slices.DeleteFunc(*m, func(kv gguf.KV) bool { return kv.Key == key })
		}
	}
	for want, edit := range map[string]func(*gguf.Meta, *[]gguf.Tensor){
		`its architecture "mamba" is not supported; supported are gemma, gemma2, gemma3, gpt2, gptneox, llama, phi2, phi3, qwen2, qwen3`: set(
			"general.architecture", "mamba"),
		`it is of the general.type "adapter", not a model`:        set("general.type", "adapter"),
		"its metadata has no general.architecture":                without("general.architecture"),
		"its metadata has no llama.block_count":                   without("llama.block_count"),
		"0 attention heads":                                       set("llama.attention.head_count", uint32(0)),
		"heads of two sizes":                                      set("llama.attention.value_length", uint32(3)),
		`llama.rope.scaling.type is "su"`:                         set("llama.rope.scaling.type", "su"),
		"it has no tokenizer (tokenizer.ggml.model)":              without("tokenizer.ggml.model"),
		`tokenizer.ggml.model "t5" is not supported`:              set("tokenizer.ggml.model", "t5"),
		`the pre-tokenizer "kimi-k2" (tokenizer.ggml.pre) is not`: set("tokenizer.ggml.pre", "kimi-k2"),
		"it has no tokenizer.ggml.tokens":                         without("tokenizer.ggml.tokens"),
		"it has no tokenizer.ggml.merges":                         without("tokenizer.ggml.merges"),
		`merge 0 is "h z", and "hz" is not a token`:               set("tokenizer.ggml.merges", []string{"h z"}),
		`merge 0 is "hz", not two tokens with a space`:            set("tokenizer.ggml.merges", []string{"hz"}),
		`tokens 0 and 1 are both "a"`:                             set("tokenizer.ggml.tokens", slices.Repeat([]string{"a"}, 262)),
		"token 0 is empty":                                        set("tokenizer.ggml.tokens", make([]string, 262)),
		"tokenizer.ggml.token_type has 1 entries for 262 tokens":  set("tokenizer.ggml.token_type", []int32{1}),
		"tokenizer.ggml.add_eos_token is true, and there is no eos": func(m *gguf.Meta, ts *[]gguf.Tensor) {
			without("tokenizer.ggml.eos_token_id")(m, ts)
			m.Set("tokenizer.ggml.add_eos_token", true)
		},
		"it has no matrix token_embd.weight": func(_ *gguf.Meta, ts *[]gguf.Tensor) {
			*ts = slices.DeleteFunc(*ts, func(x gguf.Tensor) bool { return x.Name == "token_embd.weight" })
		},
	} {
		path := filepath.Join(t.TempDir(), "x.gguf")
		tiny(t, path, edit)
		_, err := folder.Of(path)
		if err == nil || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, []byte("no such file"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Of(path); err == nil || !strings.Contains(err.Error(), "it is not a GGUF file") {
		t.Errorf("what is not a GGUF file: %v", err)
	}
	for want, x := range map[string]gguf.Tensor{`tensor "blk.0.ffn_gate_exps.weight" is none that the architecture llama has`: gguf.Values(
		"blk.0.ffn_gate_exps.weight", ggml.F32, make([]float32, 8), 8)} {
		path := filepath.Join(t.TempDir(), "x.gguf")
		tiny(t, path, func(_ *gguf.Meta, ts *[]gguf.Tensor) { *ts = append(*ts, x) })
		dir, err := folder.Of(path)
		if err == nil {
			_, err = model.Load(dir)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestLlamaCpp: ids and log-probabilities of files by llama.cpp's converters are llama.cpp's, within the tolerances of its float16
// cache and of its products of quantised rows.
func TestLlamaCpp(t *testing.T) {
	root := golden.Root(t, "")
	if root == "" {
		t.Skip("ADAPTFLOW_GOLDEN names no folder")
	}
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	type row struct {
		Text   string
		IDs    []int32
		Tokens []int32
		Top    [][2]float64 `json:"first_top5"`
	}
	expected := golden.JSON[map[string][]row](t, filepath.Join(root, "gguf", "llamacpp_expected.json"))
	for name, tolerance := range map[string]float64{"f32": 2e-3, "bf16": 2e-2, "q8_0": 1e-1} {
		dir, err := folder.Of(filepath.Join(root, "gguf", "lm5m-"+name+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		tk, err := tokenize.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range expected[name] {
			ids, err := tk.AppendIDs(nil, r.Text, true)
			if err != nil || !slices.Equal(ids, r.IDs) {
				t.Errorf("%s: ids of %q are %v, %v; want %v", name, r.Text, ids, err, r.IDs)
			}
			// llama.cpp gives no probabilities for a token whose bytes end inside a character: the first entry is of one that has some.
			ids = append(ids, r.Tokens[:slices.Index(r.Tokens, int32(r.Top[0][0]))]...)
			got := logProbs(t, m, ids)
			for _, p := range r.Top {
				if d := math.Abs(got[int(p[0])] - p[1]); !(d <= tolerance) {
					t.Errorf("%s: the log-probability of %v after %q differs by %.1e", name, p[0], r.Text, d)
				}
			}
		}
		m.Close()
	}
}

// logProbs are the log-probabilities of what follows ids.
func logProbs(t *testing.T, m *model.Model, ids []int32) []float64 {
	t.Helper()
	wide := make([]int64, len(ids))
	for i, id := range ids {
		wide[i] = int64(id)
	}
	s, at := nn.FromBatch(wide, nil, nil, 1, len(ids))
	p, err := nn.Compile(m, nil, nn.NewParams(1), nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: len(s.Tokens), S: len(s.Rows), N: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	v := m.Config.Vocab
	last := p.Forward(s, false)[(len(at)-1)*v:]
	sum := 0.0
	for _, x := range last {
		sum += math.Exp(float64(x))
	}
	out := make([]float64, v)
	for i, x := range last {
		out[i] = float64(x) - math.Log(sum)
	}
	return out
}
