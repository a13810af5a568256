package tokenize

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/gguf"
)

// bytesBPE is the tokenizer.json of a small BPE, changed by edit.
func bytesBPE(edit func(top, model map[string]any)) map[string]any {
	vocab := map[string]int{}
	for i := range 94 {
		vocab[string(rune('!'+i))] = i
	}
	vocab["Ġ"], vocab["he"], vocab["hel"], vocab["lo"] = 94, 95, 96, 97
	model := map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
		"fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []string{"h e", "l o", "he l"}}
	top := map[string]any{"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "post_processor": nil, "model": model,
		"added_tokens": []map[string]any{
			{"id": 98, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
			{"id": 99, "content": "[own]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": false}},
		"pre_tokenizer": map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"decoder":       map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}}
	edit(top, model)
	return top
}

// TestGGUFMeta: what is written of a tokenizer, and of those that llama.cpp has no equal of, why not.
func TestGGUFMeta(t *testing.T) {
	regex := func(p string) map[string]any {
		return map[string]any{"type": "Sequence", "pretokenizers": []map[string]any{
			{"type": "Split", "pattern": map[string]any{"Regex": p}, "behavior": "Isolated", "invert": false},
			{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}}}
	}
	for want, edit := range map[string]func(top, model map[string]any){
		"gpt-2":     func(_, _ map[string]any) {},
		"qwen2":     func(top, _ map[string]any) { top["pre_tokenizer"] = regex(patternQwen2) },
		"llama-bpe": func(top, m map[string]any) { top["pre_tokenizer"], m["ignore_merges"] = regex(pattern100K), true },
		"smollm": func(top, _ map[string]any) {
			top["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []map[string]any{
				{"type": "Digits", "individual_digits": true},
				{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}}}
		},
		`splits by ["\\w+"]`: func(top, _ map[string]any) { top["pre_tokenizer"] = regex(`\w+`) },
		"ByteLevel with settings": func(top, _ map[string]any) {
			top["pre_tokenizer"].(map[string]any)["add_prefix_space"] = true
		},
		"its normalizer Lowercase": func(top, _ map[string]any) { top["normalizer"] = map[string]any{"type": "Lowercase"} },
		"llama.cpp would give other ids": func(_, m map[string]any) {
			m["ignore_merges"], m["vocab"].(map[string]int)["hell"] = true, 100
		},
	} {
		dir := t.TempDir()
		raw, _ := json.Marshal(bytesBPE(edit))
		for n, b := range map[string][]byte{"tokenizer.json": raw, "tokenizer_config.json": []byte(`{"eos_token": "<|end|>"}`)} {
			if err := os.WriteFile(filepath.Join(dir, n), b, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		m, err := GGUFMeta(dir, 104, []int32{98, 99})
		pre, _, _ := m.String("tokenizer.ggml.pre")
		if pre != want && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("the pre-tokenizer is %q, %v; want %s", pre, err, want)
		}
		if want != "gpt-2" || err != nil {
			continue
		}
		tokens, _, _ := m.Strings("tokenizer.ggml.tokens")
		types, _, _ := m.Ints("tokenizer.ggml.token_type")
		merges, _, _ := m.Strings("tokenizer.ggml.merges")
		eos, _, _ := m.Int("tokenizer.ggml.eos_token_id")
		eot, _, _ := m.Int("tokenizer.ggml.eot_token_id")
		if !slices.Equal(tokens[95:101], []string{"he", "hel", "lo", "<|end|>", "[own]", "[PAD100]"}) || len(tokens) != 104 ||
			!slices.Equal(types[97:101], []int{1, 3, 4, 5}) ||
			!slices.Equal(merges, []string{"h e", "l o", "he l"}) || eos != 98 || eot != 99 {
			t.Errorf("%v, %v, %v, %d, %d", tokens[95:], types[95:], merges, eos, eot)
		}
		if _, err := GGUFMeta(dir, 99, nil); err == nil || !strings.Contains(err.Error(), "the model's embedding 99 rows") {
			t.Errorf("more tokens than rows: %v", err)
		}
	}
}

// TestGGUFMetaGolden: the keys of llama.cpp's converter of the same folder have the values that it wrote.
func TestGGUFMetaGolden(t *testing.T) {
	root := os.Getenv("ADAPTFLOW_GOLDEN")
	dir := filepath.Join(root, "..", "models", "lm-en-5m")
	if _, err := os.Stat(filepath.Join(dir, "tokenizer.json")); root == "" || err != nil {
		t.Skip("ADAPTFLOW_GOLDEN names no folder with ../models/lm-en-5m")
	}
	f, err := gguf.Open(filepath.Join(root, "gguf", "lm5m-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := GGUFMeta(dir, 4096, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, kv := range f.Meta {
		if !strings.HasPrefix(kv.Key, "tokenizer.ggml.") {
			continue
		}
		a, _ := json.Marshal(kv.Value)
		if b, _ := json.Marshal(m.Value(kv.Key)); string(a) != string(b) {
			t.Errorf("%s is %.80s, by llama.cpp %.80s", kv.Key, b, a)
		}
		n++
	}
	if n < 7 {
		t.Errorf("%d keys were compared", n)
	}
}
