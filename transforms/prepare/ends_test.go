package prepare

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/tokenize"
)

const bos = 257

// framing is byteTokenizer with a bos_token, which its post-processor puts before a text (adds) or only its files name.
func framing(t *testing.T, adds bool, config string) string {
	t.Helper()
	dir := byteTokenizer(t)
	raw, err := os.ReadFile(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	m["added_tokens"] = append(m["added_tokens"].([]any),
		map[string]any{"id": bos, "content": "<bos>", "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": false, "special": true})
	if adds {
		part := func(kind, id string) any { return map[string]any{kind: map[string]any{"id": id, "type_id": 0}} }
		m["post_processor"] = map[string]any{"type": "TemplateProcessing",
			"single":         []any{part("SpecialToken", "<bos>"), part("Sequence", "A")},
			"pair":           []any{part("Sequence", "A"), part("Sequence", "B")},
			"special_tokens": map[string]any{"<bos>": map[string]any{"id": "<bos>", "ids": []int{bos}, "tokens": []string{"<bos>"}}}}
	}
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tokenizer.json"), string(raw))
	if config == "" {
		config = `{"eos_token": "<eos>", "bos_token": "<bos>"}`
	}
	write(t, filepath.Join(dir, "tokenizer_config.json"), config)
	return dir
}

// TestEnds: every kind of row has at its ends what the tokenizer and the settings say, and the end is learnt.
func TestEnds(t *testing.T) {
	n := int32(datasets.NoLoss)
	const template = "<bos>{% for m in messages %}{{ m.role[0] }}{{ m.content }}<eos>{% endfor %}{% if add_generation_prompt %}a{% endif %}"
	adds, names := framing(t, true, ""), framing(t, false, "")
	null := framing(t, false, `{"eos_token": "<eos>", "bos_token": null}`)
	write(t, filepath.Join(null, "config.json"), `{"bos_token_id": 257, "eos_token_id": 256}`)
	chat := framing(t, true, "")
	write(t, filepath.Join(chat, "chat_template.jinja"), template)
	plain, pair := `{"text": "ab"}`, `{"prompt": "ab", "completion": "xy"}`
	turns := `{"messages": [{"role": "user", "content": "h"}, {"role": "assistant", "content": "o"}]}`
	for _, c := range []struct {
		name, tokenizer, row string
		edit                 func(*Config)
		ids, labels          []int32
		bos, eos             bool
	}{
		{"plain, added by the tokenizer", adds, plain, nil, []int32{bos, 'a', 'b', eos}, []int32{n, 'a', 'b', eos}, true, true},
		{"plain, named alone", names, plain, nil, []int32{'a', 'b', eos}, []int32{n, 'b', eos}, false, true},
		{"plain, null", null, plain, nil, []int32{'a', 'b', eos}, []int32{n, 'b', eos}, false, true},
		{"plain, add_bos", names, plain, func(c *Config) { c.Ends.BOS = tokenize.Yes }, []int32{bos, 'a', 'b', eos},
			[]int32{n, 'a', 'b', eos}, true, true},
		{"plain, no add_bos", adds, plain, func(c *Config) { c.Ends.BOS = tokenize.No }, []int32{'a', 'b', eos},
			[]int32{n, 'b', eos}, false, true},
		{"plain, no add_eos", adds, plain, func(c *Config) { c.Ends.EOS = tokenize.No }, []int32{bos, 'a', 'b'},
			[]int32{n, 'a', 'b'}, true, false},
		{"plain, ends by itself", adds, `{"text": "<bos>ab<eos>"}`, nil, []int32{bos, 'a', 'b', eos},
			[]int32{n, 'a', 'b', eos}, true, true},
		{"plain, separator", names, plain, func(c *Config) { c.Ends.Separator = "\n\n" }, []int32{'a', 'b', '\n', '\n'},
			[]int32{n, 'b', '\n', '\n'}, false, false},
		{"plain, separator and eos", names, plain, func(c *Config) { c.Ends.Separator, c.Ends.EOS = "#", tokenize.Yes },
			[]int32{'a', 'b', eos, '#'}, []int32{n, 'b', eos, '#'}, false, true},
		{"plain, wrapped", adds, plain, func(c *Config) { c.Strategy, c.IsolateDocuments = datasets.PackWrapped, false },
			[]int32{bos, 'a', 'b', eos}, []int32{n, 'a', 'b', eos}, true, true},
		{"plain, second engine", names, plain, func(c *Config) { c.Engine = tokenize.EngineSugarme }, []int32{'a', 'b', eos},
			[]int32{n, 'b', eos}, false, true},
		{"plain, second engine, added", adds, plain, func(c *Config) { c.Engine = tokenize.EngineSugarme }, []int32{bos, 'a', 'b', eos},
			[]int32{n, 'a', 'b', eos}, true, true},
		{"plain, with a key", adds, `{"text": "ab", "who": "k"}`, func(c *Config) { c.KeyColumn = "who" }, []int32{bos, 'a', 'b', eos},
			[]int32{n, 'a', 'b', eos}, true, true},
		{"prompt and completion", adds, pair, nil, []int32{bos, 'a', 'b', 'x', 'y', eos}, []int32{n, n, n, 'x', 'y', eos}, true, true},
		{"prompt and completion, named alone", names, pair, nil, []int32{'a', 'b', 'x', 'y', eos},
			[]int32{n, n, 'x', 'y', eos}, false, true},
		{"prompt and completion that ends", names, `{"prompt": "ab", "completion": "xy<eos>"}`, nil, []int32{'a', 'b', 'x', 'y', eos},
			[]int32{n, n, 'x', 'y', eos}, false, true},
		{"prompt and completion, no add_eos", adds, pair, func(c *Config) { c.Ends.EOS = tokenize.No }, []int32{bos, 'a', 'b', 'x', 'y'},
			[]int32{n, n, n, 'x', 'y'}, true, false},
		{"prompt and completion, add_bos", names, pair, func(c *Config) { c.Ends.BOS = tokenize.Yes },
			[]int32{bos, 'a', 'b', 'x', 'y', eos}, []int32{n, n, n, 'x', 'y', eos}, true, true},
		{"prompt and completion, separator", names, pair, func(c *Config) { c.Ends.Separator = "#" }, []int32{'a', 'b', 'x', 'y', eos},
			[]int32{n, n, 'x', 'y', eos}, false, false},
		{"turns of a template", chat, turns, func(c *Config) { c.AssistantOnlyLoss = true }, []int32{bos, 'u', 'h', eos, 'a', 'o', eos},
			[]int32{n, n, n, n, n, 'o', eos}, true, true},
		{"turns of a template, add_bos", chat, turns,
			func(c *Config) { c.AssistantOnlyLoss, c.Ends.BOS, c.Ends.EOS = true, tokenize.Yes, tokenize.Yes },
			[]int32{bos, 'u', 'h', eos, 'a', 'o', eos}, []int32{n, n, n, n, n, 'o', eos}, true, true},
		{"prompt and completion in a template", chat, pair, func(c *Config) { c.ApplyChatTemplate = true },
			[]int32{bos, 'u', 'a', 'b', eos, 'a', 'x', 'y', eos}, []int32{n, n, n, n, n, n, 'x', 'y', eos}, true, true},
	} {
		in := t.TempDir()
		write(t, filepath.Join(in, "p.jsonl"), c.row+"\n")
		cfg := config(t, c.tokenizer, in)
		cfg.CompletionOnlyLoss, cfg.ValidationFraction = true, 0
		if c.edit != nil {
			c.edit(&cfg)
		}
		s := sequences(t, execute(t, cfg).Train)
		if len(s) != 1 || !slices.Equal(s[0].InputIDs, c.ids) || !slices.Equal(s[0].Labels, c.labels) {
			t.Errorf("%s: %+v, want %v and %v", c.name, s, c.ids, c.labels)
		}
		m, err := datasets.ReadManifest(cfg.OutDir)
		if err != nil || m.AddBOS == nil || *m.AddBOS != c.bos || m.AddEOS == nil || *m.AddEOS != c.eos ||
			m.DocumentSeparator != cfg.Ends.Separator {
			t.Errorf("%s: %+v %v", c.name, m, err)
		}
	}
}

// TestLongEnds: a document that is cut has its end once, where it ends, and it is learnt there, however long the document is.
func TestLongEnds(t *testing.T) {
	tokenizer := framing(t, true, "")
	for _, packing := range []string{datasets.PackBFDSplit, datasets.PackNone, datasets.PackWrapped} {
		for _, length := range []int{13, 14, 15, 16, 22, 23, 24} { // with bos and eos 15 to 26, 17 and 25 among them
			in := t.TempDir()
			write(t, filepath.Join(in, "p.txt"), string(slices.Repeat([]byte{'x'}, length)))
			cfg := config(t, tokenizer, in)
			cfg.SequenceLength, cfg.ValidationFraction, cfg.Strategy, cfg.IsolateDocuments = 8, 0, packing, packing != datasets.PackWrapped
			ends, begins, x, learnt := 0, 0, 0, 0
			for _, s := range sequences(t, execute(t, cfg).Train) {
				for i, id := range s.InputIDs {
					switch id {
					case eos:
						ends++
						if s.Labels[i] == eos {
							learnt++
						}
					case bos:
						begins++
					case 'x':
						x++
					}
				}
			}
			if packing == datasets.PackWrapped && (length+2)%8 == 1 {
				learnt = 1 // blocks are cut wherever they are full
			}
			if ends != 1 || begins != 1 || learnt != 1 || x != length {
				t.Errorf("%s, %d: %d ends, %d of them learnt, %d beginnings, %d tokens", packing, length, ends, learnt, begins, x)
			}
		}
	}
}

// TestEndsOfClasses: a text that has a class is encoded as the tokenizer alone does it.
func TestEndsOfClasses(t *testing.T) {
	for name, c := range map[string]struct {
		tokenizer string
		ends      tokenize.Ends
		first     int32
		last      bool
	}{
		"added":        {framing(t, true, ""), tokenize.Ends{}, bos, false},
		"named":        {framing(t, false, ""), tokenize.Ends{}, 'a', false},
		"named, added": {framing(t, false, ""), tokenize.Ends{BOS: tokenize.Yes, EOS: tokenize.Yes}, bos, true},
	} {
		in := t.TempDir()
		write(t, filepath.Join(in, "p.jsonl"), `{"text": "abc", "label": "x"}`+"\n"+`{"text": "ade", "label": "y"}`+"\n")
		cfg := config(t, c.tokenizer, in)
		cfg.RowKind, cfg.LabelColumn, cfg.ValidationFraction, cfg.Ends = datasets.RowClassification, "label", 0, c.ends
		for _, s := range sequences(t, execute(t, cfg).Train) {
			for _, from := range s.DocStarts {
				if s.InputIDs[from] != c.first {
					t.Errorf("%s: a text begins with %d", name, s.InputIDs[from])
				}
			}
			if last := s.InputIDs[len(s.InputIDs)-1]; (last == eos) != c.last {
				t.Errorf("%s: a text ends with %d", name, last)
			}
		}
	}
}
