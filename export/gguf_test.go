package export

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// folderWith copies a model's folder and adds a tokenizer of bytes, as many as the vocabulary has.
func folderWith(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range []string{"config.json", "model.safetensors", "generation_config.json"} {
		b, err := os.ReadFile(filepath.Join(from, n))
		if err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, n), b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	config := golden.JSON[struct {
		Vocab int `json:"vocab_size"`
	}](t, filepath.Join(dir, "config.json"))
	vocab := map[string]int{}
	for i := 0; i < min(config.Vocab-2, 60); i++ {
		vocab[string(rune('!'+i))] = i
	}
	n := len(vocab)
	added := []map[string]any{}
	for i, s := range []string{"<|im_start|>", "<|im_end|>"} {
		added = append(added, map[string]any{"id": n + i, "content": s, "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": true})
	}
	for name, v := range map[string]any{
		"tokenizer.json": map[string]any{"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil,
			"pre_tokenizer":  map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
			"post_processor": nil,
			"decoder":        map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
			"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
				"end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []string{}}},
		"tokenizer_config.json": map[string]any{"eos_token": "<|im_end|>", "chat_template": chatML},
	} {
		raw, _ := json.Marshal(v)
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const chatML = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}" +
	"{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

// adapterOf writes an adapter with values that are not zeros, over a base, and returns its folder.
func adapterOf(t *testing.T, dir, method string, config map[string]any) string {
	t.Helper()
	s := source(t, method, config)
	for _, p := range s.Params.List() {
		v := p.Slot(0)
		for i := range v {
			v[i] += float32(math.Sin(float64(i*7+len(p.Name)))) / 20
		}
	}
	to := filepath.Join(t.TempDir(), "adapter")
	if err := WriteAdapter(s, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestGGUFLora: the base's matrix in a GGUF file and the pair of the adapter's, scaled as llama.cpp scales it, are the merged model's
// matrix, in the file's order of rows, for LoRA with its variants and for other methods.
func TestGGUFLora(t *testing.T) {
	dir := folderWith(t, base)
	plain := filepath.Join(t.TempDir(), "base.gguf")
	if _, err := GGUFModel(dir, "", "F32", plain); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method string
		config map[string]any
		rank   int // that is asked for
		want   int
	}{
		"lora": {"LORA", map[string]any{"r": 2, "target_modules": "all-linear"}, 0, 2},
		"rslora": {"LORA", map[string]any{"r": 4, "lora_alpha": 3, "use_rslora": true, "target_modules": []string{"q_proj", "k_proj"}},
			0, 4},
		"patterns": {"LORA", map[string]any{"r": 2, "rank_pattern": map[string]any{"k_proj": 5},
			"alpha_pattern": map[string]any{"up_proj": 1}, "target_modules": []string{"k_proj", "up_proj", "q_proj"}}, 0, 5},
		"pissa": {"LORA", map[string]any{"r": 2, "init_lora_weights": "pissa",
			"target_modules": []string{"q_proj", "down_proj"}}, 0, 4},
		"embedding": {"LORA", map[string]any{"r": 3, "target_modules": []string{"embed_tokens", "lm_head", "q_proj"}}, 0, 3},
		"dora":      {"LORA", map[string]any{"r": 2, "use_dora": true, "target_modules": []string{"q_proj"}}, 1 << 10, 0},
		"loha":      {"LOHA", map[string]any{"r": 2, "target_modules": []string{"v_proj"}}, 0, 4},
	} {
		t.Run(name, func(t *testing.T) {
			adapter := adapterOf(t, dir, c.method, c.config)
			path, merged := filepath.Join(t.TempDir(), "a.gguf"), filepath.Join(t.TempDir(), "m.gguf")
			r, err := GGUFLora(dir, adapter, c.rank, path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := GGUFModel(dir, adapter, "F32", merged); err != nil {
				t.Fatal(err)
			}
			if r.Lost > 1e-4 || c.want > 0 && r.Rank != c.want {
				t.Errorf("rank %d, want %d; %g is lost", r.Rank, c.want, r.Lost)
			}
			sameMerged(t, plain, path, merged, 3e-5)
		})
	}
	// Of a lower rank, what is said to be lost is lost.
	adapter := adapterOf(t, dir, "LORA", map[string]any{"r": 4, "target_modules": []string{"q_proj"}})
	r, err := GGUFLora(dir, adapter, 1, filepath.Join(t.TempDir(), "a.gguf"))
	if err != nil || r.Rank != 1 || r.Lost < 0.1 || r.Lost >= 1 || !strings.HasSuffix(r.Worst, "q_proj") {
		t.Errorf("%+v, %v", r, err)
	}
}

// sameMerged applies the pairs of an adapter's file to the base's and compares with the merged one's.
func sameMerged(t *testing.T, plain, adapter, merged string, tolerance float64) {
	t.Helper()
	open := func(path string) *gguf.File {
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	b, a, m := open(plain), open(adapter), open(merged)
	alpha, _, _ := a.Meta.Float("adapter.lora.alpha")
	changed := 0
	for _, n := range m.Names() {
		w, _ := b.Float32(n)
		want, _ := m.Float32(n)
		i, _ := m.Tensor(n)
		if ia, ok := a.Tensor(n + ".lora_a"); ok {
			la, _ := a.Float32(n + ".lora_a")
			lb, err := a.Float32(n + ".lora_b")
			rank := ia.Shape[0]
			if n == "token_embd.weight" { // its rows are tokens, looked up in A
				rank = ia.Shape[1]
				la, lb, ia.Shape = transposed(lb, i.Shape[1], rank), la, []int{rank, i.Shape[1]}
			}
			if err != nil || ia.Shape[1] != i.Shape[1] || len(lb) != rank*i.Shape[0] {
				t.Fatalf("%s: %v, %v", n, ia, err)
			}
			for o := range i.Shape[0] {
				for j := range i.Shape[1] {
					sum := 0.0
					for k := range rank {
						sum += float64(lb[o*rank+k]) * float64(la[k*i.Shape[1]+j])
					}
					w[o*i.Shape[1]+j] += float32(alpha / float64(rank) * sum)
				}
			}
			changed++
		}
		for k, v := range w {
			if math.Abs(float64(v-want[k])) > tolerance {
				t.Fatalf("%s: value %d is %v with the adapter, %v merged", n, k, v, want[k])
			}
		}
	}
	if changed*2 != len(a.Names()) {
		t.Errorf("%d matrices have pairs, of %v", changed, a.Names())
	}
}

// transposed is x [rows, cols] as [cols, rows].
func transposed(x []float32, rows, cols int) []float32 {
	t := make([]float32, len(x))
	for i := range rows {
		for j := range cols {
			t[j*rows+i] = x[i*cols+j]
		}
	}
	return t
}

// TestGGUFLoraRefuses: what no GGUF adapter can hold is refused with what to do instead.
func TestGGUFLoraRefuses(t *testing.T) {
	dir := folderWith(t, base)
	for want, c := range map[string]struct {
		method string
		config map[string]any
	}{
		"is not a matrix of a linear layer": {"LN_TUNING", map[string]any{}},
		"give a largest rank":               {"LORA", map[string]any{"r": 2, "use_dora": true, "target_modules": []string{"q_proj"}}},
		"cannot be merged":                  {"PROMPT_TUNING", map[string]any{"num_virtual_tokens": 2}},
	} {
		_, err := GGUFLora(dir, adapterOf(t, dir, c.method, c.config), 0, filepath.Join(t.TempDir(), "a.gguf"))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "adaptflow gguf model") {
			t.Errorf("%v, want %q and the merged model", err, want)
		}
	}
	tied := folderWith(t, "../model/testdata/models/llama_tied")
	embeddings := map[string]any{"r": 2, "target_modules": []string{"embed_tokens"}}
	_, err := GGUFLora(tied, adapterOf(t, tied, "LORA", embeddings), 0, filepath.Join(t.TempDir(), "a.gguf"))
	if err == nil || !strings.Contains(err.Error(), "adaptflow gguf model") {
		t.Errorf("an embedding that is tied: %v", err)
	}
	a := source(t, "PROMPT_TUNING", map[string]any{"num_virtual_tokens": 2}).Adapter
	if err := Check(&Config{GGUFLora: true}, a); err == nil || !strings.Contains(err.Error(), "export: gguf_lora:") {
		t.Error(err)
	}
}

// TestGGUFModel: the file of a model has its metadata, types and stop tokens, and is as large as they say.
func TestGGUFModel(t *testing.T) {
	dir := folderWith(t, base)
	for _, q := range ggufQuants {
		path := filepath.Join(t.TempDir(), "m.gguf")
		r, err := GGUFModel(dir, "", q.Name, path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if n, _, _ := f.Meta.Int("general.file_type"); n != int(q.FileType) {
			t.Errorf("%s has the file type %d", q.Name, n)
		}
		total := 0
		for _, c := range r.Types {
			total += c.Tensors
		}
		if total != len(f.Names()) || r.Architecture != "llama" {
			t.Errorf("%s: %+v of %d tensors", q.Name, r, len(f.Names()))
		}
		if i, _ := f.Tensor("blk.0.attn_norm.weight"); i.Type != ggml.F32 {
			t.Errorf("a norm is %s", i.Type)
		}
		if text, _, _ := f.Meta.String("tokenizer.chat_template"); text != chatML {
			t.Errorf("the chat template is %q", text)
		}
	}
	if _, err := GGUFModel(dir, "", "Q3_X", filepath.Join(dir, "m.gguf")); err == nil ||
		!strings.Contains(err.Error(), "known are F32, F16") {
		t.Error(err)
	}
	if _, err := GGUFModel(base, "", "F32", filepath.Join(dir, "m.gguf")); err == nil || !strings.Contains(err.Error(), "tokenizer.json") {
		t.Errorf("without a tokenizer: %v", err)
	}
}

// TestGGUFTypes: what llama-quantize gives the matrices of a model of 16 layers and one whose rows are not whole blocks of 256.
func TestGGUFTypes(t *testing.T) {
	for _, c := range []struct {
		quant, tensor string
		columns       int
		tied          bool
		want          ggml.Type
		fell          bool
	}{
		{"Q4_K_M", "output.weight", 512, false, ggml.Q6_K, false}, {"Q4_K_M", "token_embd.weight", 512, false, ggml.Q4_K, false},
		{"Q4_K_M", "token_embd.weight", 512, true, ggml.Q6_K, false}, {"Q4_K_M", "blk.0.attn_v.weight", 512, false, ggml.Q6_K, false},
		{"Q4_K_M", "blk.2.attn_v.weight", 512, false, ggml.Q4_K, false}, {"Q4_K_M", "blk.4.ffn_down.weight", 512, false, ggml.Q6_K, false},
		{"Q4_K_M", "blk.14.ffn_down.weight", 512, false, ggml.Q6_K, false},
		{"Q4_K_M", "blk.13.ffn_down.weight", 512, false, ggml.Q6_K, false},
		{"Q4_K_M", "blk.12.ffn_down.weight", 512, false, ggml.Q4_K, false},
		{"Q4_K_M", "blk.3.attn_qkv.weight", 512, false, ggml.Q5_K, false},
		{"Q5_K_M", "blk.3.attn_qkv.weight", 512, false, ggml.Q6_K, false}, {"Q4_K_M", "blk.2.attn_q.weight", 576, false, ggml.Q5_0, true},
		{"Q5_K_M", "blk.2.attn_q.weight", 576, false, ggml.Q5_1, true}, {"Q6_K", "blk.2.attn_q.weight", 576, false, ggml.Q8_0, true},
		{"Q4_K_M", "blk.2.attn_q.weight", 72, false, ggml.F16, true}, {"Q4_0", "output.weight", 512, false, ggml.Q6_K, false},
		{"Q8_0", "output.weight", 512, false, ggml.Q8_0, false}, {"Q8_0", "position_embd.weight", 512, false, ggml.F32, false},
		{"Q8_0", "blk.0.attn_q_norm.weight", 512, false, ggml.F32, false},
	} {
		q, err := ggufQuantOf(c.quant)
		if err != nil {
			t.Fatal(err)
		}
		if got, fell := q.typeOf(c.tensor, []int{8, c.columns}, 16, c.tied); got != c.want || fell != c.fell {
			t.Errorf("%s: %s is %s, %v, want %s", c.quant, c.tensor, got, fell, c.want)
		}
	}
	field, _ := reflect.TypeFor[Config]().FieldByName("GGUF")
	if names := strings.Split(field.Tag.Get("enum"), ","); !slices.Equal(names, append([]string{""}, GGUFQuants()...)) {
		t.Errorf("export.gguf may be %v, and the quantisations are %v", names, GGUFQuants())
	}
}

// TestModelfile: a Modelfile has the model, the adapter, the template in Ollama's language and the stop tokens.
func TestModelfile(t *testing.T) {
	special := map[string]string{"bos_token": "<s>", "eos_token": "</s>"}
	for name, c := range map[string]struct{ source, want string }{
		"chatml": {chatML, `TEMPLATE """{{- range $i, $_ := .Messages }}{{ if eq .Role "system" }}` +
			`{{ "<|im_start|>system\n" }}{{ .Content }}{{ "<|im_end|>\n" }}{{ end }}{{ if eq .Role "user" }}`},
		"with a default": {"{% if messages[0]['role'] != 'system' %}{{ '[S]be good[/S]' }}{% endif %}{% for m in messages %}" +
			"{{ '[' + m['role'] + ']' + m['content'] }}{% endfor %}{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}",
			`{{ if and (eq $i 0) (ne .Role "system") }}{{ "[S]be good[/S]" }}{{ end }}`},
		"other": {"{% for m in messages %}{{ m['content'] | trim | upper }}{% endfor %}",
			"# The chat template has no equal in Ollama's language"},
	} {
		tmpl, err := chat.New(c.source, special)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "Modelfile")
		talk := ggufChat{templates: chat.Set{"default": tmpl}, stops: []string{"</s>"}}
		if err := WriteModelfile(path, "model.gguf", "a.gguf", talk); err != nil {
			t.Fatal(err)
		}
		got, _ := os.ReadFile(path)
		if !strings.Contains(string(got), c.want) || !strings.HasPrefix(string(got), "FROM ./model.gguf\nADAPTER ./a.gguf\n") ||
			!strings.HasSuffix(string(got), "PARAMETER stop \"</s>\"\n") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestMeasureGGUF: a file in float32 has the perplexity of the model, one in 4 bits another, of the same tokens, with bos_token before
// each text.
func TestMeasureGGUF(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	dir := folderWith(t, filepath.Join("..", "model", "testdata", "models", "llama_gqa"))
	texts := []string{"ABCDEFGH", "HELLO", "A"}
	measure := func(quant string) *GGUFPerplexity {
		path := filepath.Join(t.TempDir(), quant+".gguf")
		if _, err := GGUFModel(dir, "", quant, path); err != nil {
			t.Fatal(err)
		}
		p, err := MeasureGGUF(dir, "", path, Texts(texts...))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := measure("F32"); p.Tokens != 14 || p.Model <= 1 || math.Abs(p.File/p.Model-1) > 1e-5 {
		t.Errorf("in float32: %+v", p)
	}
	if p := measure("Q4_0"); p.Tokens != 14 || math.Abs(p.File/p.Model-1) < 1e-5 {
		t.Errorf("in 4 bits: %+v", p)
	}
	if _, err := MeasureGGUF(dir, "", filepath.Join(t.TempDir(), "none.gguf"), Texts("")); err == nil {
		t.Error("a text of no token is measured")
	}
}
