package tokenize

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// folderCase is a model folder and what transformers' AutoTokenizer makes of it: see interop/golden/tokenizer_folders.py.
type folderCase struct {
	Name, Base string
	Files      map[string]json.RawMessage
	BOS        *int32 `json:"bos"`
	EOS        *int32 `json:"eos"`
	Pad        *int32 `json:"pad"`
	Texts      []struct {
		Text     string
		IDs      []int32 `json:"ids"`
		Special  []int32 `json:"ids_special"`
		Document []int32
		Skipped  string `json:"skipped"`
	}
}

func folderCases(t *testing.T) (cases []folderCase, bases map[string][]byte) {
	t.Helper()
	raw, err := os.ReadFile("testdata/folders.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Bases map[string]json.RawMessage
		Cases []folderCase
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	bases = map[string][]byte{}
	for k, v := range g.Bases {
		bases[k] = v
	}
	if bases["bytes"], err = os.ReadFile("testdata/tokenizer/tokenizer.json"); err != nil {
		t.Fatal(err)
	}
	return g.Cases, bases
}

func folderOf(base []byte, files map[string]json.RawMessage) fstest.MapFS {
	dir := fstest.MapFS{"tokenizer.json": {Data: base}}
	for name, data := range files {
		dir[name] = &fstest.MapFile{Data: data}
	}
	return dir
}

// The other files of a model folder count as transformers counts them.
func TestGoldenFolders(t *testing.T) {
	cases, bases := folderCases(t)
	if len(cases) < 58 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, c := range cases {
		for _, engine := range []string{EngineFast, EngineSugarme} {
			tk, err := LoadFS(folderOf(bases[c.Base], c.Files), ".", engine)
			if engine == EngineSugarme && (c.Base != "bytes" || err != nil && strings.Contains(err.Error(), "use tokenizer.engine: fast")) {
				continue
			}
			if err != nil {
				t.Errorf("%s, %s: %v", c.Name, engine, err)
				continue
			}
			bos, eos, _, _ := tk.Special()
			for _, s := range []struct {
				name string
				got  int32
				want *int32
			}{{"bos", bos, c.BOS}, {"eos", eos, c.EOS}} {
				if s.want == nil && s.got >= 0 && !strings.HasPrefix(c.Name, "null") && c.Files["config.json"] != nil {
					continue // config.json names it
				}
				if s.want == nil && s.got >= 0 || s.want != nil && *s.want != s.got {
					t.Errorf("%s, %s: %s is %d", c.Name, engine, s.name, s.got)
				}
			}
			for _, x := range c.Texts {
				plain, err := tk.Encode(x.Text, false)
				if err != nil {
					t.Fatal(err)
				}
				special, err := tk.AppendIDs(nil, x.Text, true)
				if err != nil {
					t.Fatal(err)
				}
				if engine == EngineSugarme { // which finds added tokens otherwise than the library that it follows
					before, after := tk.Around()
					if want := slices.Concat(before, plain.IDs, after); !slices.Equal(special, want) {
						t.Errorf("%s, %s: %q: %v, want %v", c.Name, engine, x.Text, special, want)
					}
					if strings.HasPrefix(c.Name, "add_prefix_space") && x.Text == "the cat" && !slices.Equal(plain.IDs, x.IDs) {
						t.Errorf("%s, %s: %q: %v, want %v", c.Name, engine, x.Text, plain.IDs, x.IDs)
					}
					continue
				}
				if !slices.Equal(plain.IDs, x.IDs) || !slices.Equal(special, x.Special) {
					t.Errorf("%s: %q: %v and %v, want %v and %v", c.Name, x.Text, plain.IDs, special, x.IDs, x.Special)
				}
				if got := tk.Decode(special, true); got != x.Skipped {
					t.Errorf("%s: %q without special tokens is %q, want %q", c.Name, x.Text, got, x.Skipped)
				}
			}
		}
	}
}

// What the files say against one another is an error that names both; so are ids that transformers would give otherwise than the files say.
func TestFoldersInConflict(t *testing.T) {
	_, bases := folderCases(t)
	tool := func(id string) string {
		return `{"tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": {"` + id +
			`": {"content": "<|tool|>", "special": true}}}`
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"an id that is not the next", map[string]string{"tokenizer_config.json": tool("400")},
			[]string{`"<|tool|>"`, "400", "added_tokens_decoder", "320"}},
		{"added_tokens.json against the decoder", map[string]string{"tokenizer_config.json": tool("320"),
			"added_tokens.json": `{"<|tool|>": 321}`}, []string{"320", "321", "added_tokens.json", "added_tokens_decoder"}},
		{"a token of tokenizer.json", map[string]string{"added_tokens.json": `{"<s>": 7}`},
			[]string{`"<s>"`, "7", "added_tokens.json", "1", "tokenizer.json"}},
		{"two of one name",
			map[string]string{"tokenizer_config.json": `{"added_tokens_decoder": {"320": {"content": "<x>"}, "321": {"content": "<x>"}}}`},
			[]string{"320", "321"}},
		{"no id", map[string]string{"tokenizer_config.json": tool("x")}, []string{`"x"`}},
		{"no token", map[string]string{"tokenizer_config.json": `{"added_tokens_decoder": {"320": "<x>"}}`}, []string{"320"}},
		{"no number", map[string]string{"added_tokens.json": `{"<x>": "1"}`}, []string{"added_tokens.json", "<x>"}},
		{"no list", map[string]string{"tokenizer_config.json": `{"additional_special_tokens": "<x>"}`},
			[]string{"additional_special_tokens"}},
		{"no text", map[string]string{"tokenizer_config.json": `{"additional_special_tokens": [1]}`},
			[]string{"additional_special_tokens"}},
		{"eos", map[string]string{"tokenizer_config.json": `{"eos_token": "<end>"}`},
			[]string{"tokenizer_config.json: eos_token", "<end>"}},
		{"bos", map[string]string{"special_tokens_map.json": `{"bos_token": {"content": "<begin>"}}`},
			[]string{"special_tokens_map.json: bos_token", "<begin>"}},
		{"bos wanted and null",
			map[string]string{"tokenizer_config.json": `{"tokenizer_class": "LlamaTokenizer", "bos_token": null, "add_bos_token": true}`},
			[]string{"add_bos_token", "bos_token"}},
		{"bos wanted perhaps", map[string]string{"tokenizer_config.json": `{"add_bos_token": "maybe"}`}, []string{"add_bos_token"}},
	} {
		files := map[string]json.RawMessage{}
		for n, s := range c.files {
			files[n] = json.RawMessage(s)
		}
		_, err := LoadFS(folderOf(bases["bytes"], files), ".", "")
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not name %s", c.name, err, w)
			}
		}
	}
}

// Padding that the model has no row for is never used: its text is text. The tokenizer's hash tells folders with other ids apart, and no
// others.
func TestFolderPadding(t *testing.T) {
	_, bases := folderCases(t)
	load := func(files map[string]json.RawMessage) Tokenizer {
		t.Helper()
		tk, err := LoadFS(folderOf(bases["bytes"], files), ".", "")
		if err != nil {
			t.Fatal(err)
		}
		return tk
	}
	plain := load(nil)
	want, err := plain.AppendIDs(nil, "a [PAD] b", false)
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string]json.RawMessage{
		"named": {"tokenizer_config.json": json.RawMessage(`{"pad_token": "[PAD]"}`),
			"config.json": json.RawMessage(`{"vocab_size": 320}`)},
		"declared": {"tokenizer_config.json": json.RawMessage(`{"pad_token": "[PAD]"}`),
			"added_tokens.json": json.RawMessage(`{"[PAD]": 320}`), "config.json": json.RawMessage(`{"vocab_size": 320}`)},
	} {
		tk := load(files)
		got, err := tk.AppendIDs(nil, "a [PAD] b", false)
		if err != nil || !slices.Equal(got, want) || tk.VocabSize() != 320 || tk.Hash() != plain.Hash() {
			t.Errorf("%s: %v, want %v; %d tokens, %v", name, got, want, tk.VocabSize(), err)
		}
	}
	row := load(map[string]json.RawMessage{"tokenizer_config.json": json.RawMessage(`{"pad_token": "[PAD]"}`),
		"config.json": json.RawMessage(`{"vocab_size": 321}`)})
	if got, err := row.AppendIDs(nil, "[PAD]", false); err != nil || !slices.Equal(got, []int32{320}) || row.Hash() == plain.Hash() {
		t.Errorf("padding with a row: %v %v", got, err)
	}
}

// A folder that version 0.1 began to work on is read as it read it.
func TestLoadBefore(t *testing.T) {
	_, bases := folderCases(t)
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"tokenizer.json":        bases["llama"],
		"tokenizer_config.json": []byte(`{"tokenizer_class": "LlamaTokenizer", "bos_token": null, "eos_token": "</s>", "add_bos_token": false, "added_tokens_decoder": {"90": {"content": "<|tool|>"}}}`),
		"config.json":           []byte(`{"bos_token_id": 1}`),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := LoadBefore(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if bos, eos, _, _ := old.Special(); bos != 1 || eos != 2 {
		t.Errorf("bos %d, eos %d", bos, eos)
	}
	if _, ok := old.TokenToID("<|tool|>"); ok {
		t.Error("a token of another file than tokenizer.json")
	}
	now, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if bos, _, _, _ := now.Special(); bos != -1 {
		t.Errorf("bos %d", bos)
	}
}
