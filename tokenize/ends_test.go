package tokenize

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// A text that is learnt has what the tokenizer puts around it, and eos_token at its end, once.
func TestGoldenDocuments(t *testing.T) {
	cases, bases := folderCases(t)
	for _, c := range cases {
		tk, err := LoadFS(folderOf(bases[c.Base], c.Files), ".", "")
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		f, err := Ends{}.Frame(tk)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		before, _ := tk.Around()
		for _, x := range c.Texts {
			want := x.Document
			if len(before) == 0 && len(want) == 0 {
				t.Fatalf("%s: %q has no tokens", c.Name, x.Text)
			}
			// The post-processor's eos_token is that of the end, where transformers has two.
			if n := len(want); n > 1 && c.EOS != nil && want[n-1] == *c.EOS && want[n-2] == *c.EOS {
				want = want[:n-1]
			}
			e, err := f.Text(x.Text)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(e.IDs, want) {
				t.Errorf("%s: %q: %v, want %v", c.Name, x.Text, e.IDs, want)
			}
			if len(e.Offsets) != len(e.IDs) || len(e.SpecialMask) != len(e.IDs) {
				t.Errorf("%s: %q: %d ids, %d offsets, %d marks", c.Name, x.Text, len(e.IDs), len(e.Offsets), len(e.SpecialMask))
			}
			// A prompt is the beginning of what is learnt, and a completion's end is a document's.
			p, err := f.Prompt(x.Text)
			if err != nil || !slices.Equal(p, want[:min(len(p), len(want))]) {
				t.Errorf("%s: prompt %v of %v, %v", c.Name, p, want, err)
			}
			if e, err := f.Completion(x.Text[:1], x.Text[1:]); err != nil || !slices.Equal(e.IDs, want) {
				t.Errorf("%s: completion %v, want %v, %v", c.Name, e.IDs, want, err)
			}
		}
	}
}

// The settings go before the tokenizer.
func TestEnds(t *testing.T) {
	_, bases := folderCases(t)
	load := func(base, config, model string) Tokenizer {
		t.Helper()
		files := map[string]json.RawMessage{}
		for name, s := range map[string]string{"tokenizer_config.json": config, "config.json": model} {
			if s != "" {
				files[name] = json.RawMessage(s)
			}
		}
		tk, err := LoadFS(folderOf(bases[base], files), ".", "")
		if err != nil {
			t.Fatal(err)
		}
		return tk
	}
	llama := load("llama", `{"tokenizer_class": "LlamaTokenizer"}`, "")                       // puts bos 1 before, eos is 2
	ends := load("llama", `{"tokenizer_class": "LlamaTokenizer", "add_eos_token": true}`, "") // and eos after
	named := load("bytes", `{"bos_token": "<s>", "eos_token": "</s>"}`, "")                   // names 1 and 2, puts none
	null := load("bytes", `{"bos_token": null, "eos_token": "</s>"}`, `{"bos_token_id": 1}`)
	none := load("bytes", "", "")
	t5 := load("t5", `{"eos_token": "</s>"}`, "") // puts eos 1 after
	bert := load("bert", `{"tokenizer_class": "BertTokenizer"}`, "")
	config := load("bytes", "", `{"eos_token_id": [2, 0]}`)
	for _, c := range []struct {
		name          string
		tk            Tokenizer
		ends          Ends
		text          string
		before, after []int32
	}{
		{"Llama", llama, Ends{}, "the cat", []int32{1}, []int32{2}},
		{"Llama, auto", llama, Ends{BOS: Auto, EOS: Auto}, "the cat", []int32{1}, []int32{2}},
		{"Llama, all", llama, Ends{BOS: Yes, EOS: Yes}, "the cat", []int32{1}, []int32{2}},
		{"Llama, none", llama, Ends{BOS: No, EOS: No}, "the cat", nil, nil},
		{"Llama begins and ends", llama, Ends{}, "<s>the cat</s>", nil, nil},
		{"Llama as before", llama, Ends{BOS: Yes, EOS: No}, "the cat", []int32{1}, nil},
		{"Llama with eos", ends, Ends{}, "the cat", []int32{1}, []int32{2}},
		{"Llama with eos, ends", ends, Ends{}, "the cat</s>", []int32{1}, nil},
		{"Llama with eos, none", ends, Ends{EOS: No}, "the cat", []int32{1}, nil},
		{"named", named, Ends{}, "the cat", nil, []int32{2}},
		{"named, bos", named, Ends{BOS: Yes}, "the cat", []int32{1}, []int32{2}},
		{"named, bos is there", named, Ends{BOS: Yes}, "<s>the cat", nil, []int32{2}},
		{"named, no eos", named, Ends{EOS: No}, "the cat", nil, nil},
		{"null", null, Ends{}, "the cat", nil, []int32{2}},
		{"none", none, Ends{}, "the cat", nil, nil},
		{"config.json", config, Ends{}, "the cat", nil, []int32{2}},
		{"T5", t5, Ends{}, "the cat", nil, []int32{1}},
		{"T5, none", t5, Ends{EOS: No}, "the cat", nil, nil},
		{"BERT", bert, Ends{}, "the cat", []int32{2}, []int32{3}},
		{"separator", named, Ends{Separator: "<pad>"}, "the cat", nil, []int32{0}},
		{"separator is there", named, Ends{Separator: "<pad>"}, "the cat<pad>", nil, nil},
		{"separator and eos", named, Ends{Separator: "<pad>", EOS: Yes}, "the cat", nil, []int32{2, 0}},
		{"separator alone", named, Ends{Separator: "<pad>", EOS: No}, "the cat", nil, []int32{0}},
		{"separator and eos, half is there", named, Ends{Separator: "<pad>", EOS: Yes}, "the cat</s>", nil, []int32{0}},
	} {
		f, err := c.ends.Frame(c.tk)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		e, err := f.Text(c.text)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := c.tk.Encode(c.text, false)
		if err != nil {
			t.Fatal(err)
		}
		if want := slices.Concat(c.before, plain.IDs, c.after); !slices.Equal(e.IDs, want) {
			t.Errorf("%s: %v, want %v", c.name, e.IDs, want)
		}
		end := int32(utf8.RuneCountInString(c.text))
		for i := range c.after {
			if o := e.Offsets[len(e.IDs)-1-i]; o != [2]int32{end, end} {
				t.Errorf("%s: the end's place is %v", c.name, o)
			}
		}
		if f.BOS() != (len(f.before) > 0 && f.before[0] == f.bos) || f.EOS() != (slices.Contains(f.End(), f.eos) && f.eos >= 0) {
			t.Errorf("%s: bos %v, eos %v", c.name, f.BOS(), f.EOS())
		}
	}
	for _, c := range []struct {
		tk   Tokenizer
		ends Ends
		want string
	}{
		{none, Ends{BOS: Yes}, "add_bos is true, and the tokenizer names no bos_token"},
		{null, Ends{BOS: Yes}, "bos_token"},
		{none, Ends{EOS: Yes}, "add_eos is true, and the tokenizer names no eos_token"},
		{none, Ends{EOS: "often"}, "auto, true or false"},
	} {
		if _, err := c.ends.Frame(c.tk); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.ends, err, c.want)
		}
	}
	f, err := Ends{Separator: "<pad>"}.Frame(named)
	if err != nil || !slices.Equal(f.Stop(), []int32{0, 2}) {
		t.Errorf("stop %v, %v", f.Stop(), err)
	}
}

// TestGoldenFamilies compares what stands around texts for real tokenizers, where ADAPTFLOW_TOKENIZERS names a folder of them: see
// interop/golden/tokenizer_families.py.
func TestGoldenFamilies(t *testing.T) {
	root := os.Getenv("ADAPTFLOW_TOKENIZERS")
	if root == "" {
		t.Skip("ADAPTFLOW_TOKENIZERS is not set")
	}
	raw, err := os.ReadFile("testdata/families.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Family string
		Config json.RawMessage
		BOS    *int32 `json:"bos"`
		EOS    *int32 `json:"eos"`
		Texts  []struct {
			Text     string
			Special  []int32 `json:"ids_special"`
			Document []int32
		}
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		data, err := os.ReadFile(filepath.Join(root, c.Family, "tokenizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		tk, err := LoadFS(folderOf(data, map[string]json.RawMessage{"tokenizer_config.json": c.Config}), ".", "")
		if err != nil {
			t.Errorf("%s: %v", c.Family, err)
			continue
		}
		bos, eos, _, _ := tk.Special()
		if (c.BOS == nil) != (bos < 0) || c.BOS != nil && *c.BOS != bos || (c.EOS == nil) != (eos < 0) || c.EOS != nil && *c.EOS != eos {
			t.Errorf("%s: bos %d, eos %d", c.Family, bos, eos)
		}
		f, err := Ends{}.Frame(tk)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range c.Texts {
			got, err := tk.AppendIDs(nil, x.Text, true)
			if err != nil || !slices.Equal(got, x.Special) {
				t.Errorf("%s: %q: %v, want %v; %v", c.Family, x.Text, got, x.Special, err)
			}
			want := x.Document
			if n := len(want); n > 1 && c.EOS != nil && want[n-1] == eos && want[n-2] == eos {
				want = want[:n-1]
			}
			if eos >= 0 && want[len(want)-1] != eos { // the tokenizer does not find the token behind a word
				want = append(slices.Clone(x.Special), eos)
			}
			if e, err := f.Text(x.Text); err != nil || !slices.Equal(e.IDs, want) {
				t.Errorf("%s: the document %q: %v, want %v; %v", c.Family, x.Text, e.IDs, want, err)
			}
			if e, err := f.Completion(x.Text[:4], x.Text[4:]); err != nil || !slices.Equal(e.IDs, want) {
				t.Errorf("%s: the completion %q: %v, want %v; %v", c.Family, x.Text, e.IDs, want, err)
			}
		}
	}
}

func TestEndsByThemselves(t *testing.T) {
	for _, e := range []Ends{{}, {BOS: Auto, EOS: No}, {BOS: Yes}} {
		if err := e.Validate(); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
	if err := (Ends{BOS: "maybe"}).Validate(); err == nil || err.Error() != `add_bos is "maybe"; it is auto, true or false` {
		t.Error(err)
	}
}
