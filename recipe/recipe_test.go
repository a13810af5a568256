package recipe

import (
	"strings"
	"testing"
)

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown section", "modell:\n  path: x\n", `line 1: unknown key "modell"; the nearest known one is "model"`},
		{"unknown key", "model:\n  path: x\ntrain:\n  seed: 1\n  learning_rte: 0.1\n", `line 5: unknown key "train.learning_rte"; the nearest known one is "train.learning_rate"`},
		{"wrong section", "model:\n  seed: 3\n", `line 2: unknown key "model.seed"; seed belongs in its section, as train.seed`},
		{"wrong type", "train:\n  seed: 1\n  max_steps: many\n", "line 3"},
		{"repeated key", "train:\n  seed: 1\n  seed: 2\n", "line 3"},
		{"two documents", "model:\n  path: x\n---\nmodel:\n  path: y\n", "second YAML document"},
		{"empty", "# nothing\n", "empty"},
		{"list", "- model\n", "must be a mapping"},
		{"section without keys", "train: 3\n", "train must be a mapping"},
	} {
		_, err := Parse("r.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "r.yaml: ") {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", c.name, err)
		}
	}
}

func layer(t *testing.T, text string) Layer {
	t.Helper()
	l, err := Parse("test", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLayers(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\nmethod:\n  peft_type: LORA\n  r: 8\ntrain:\n  max_steps: 7\n")
	set, err := Set("max_steps", "9")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(base, layer(t, "train:\n  learning_rate: 1e-3\n  max_steps: 8\n"), set)
	if err != nil {
		t.Fatal(err)
	}
	if r.Train.MaxSteps != 9 || r.Train.LearningRate != 1e-3 || r.Train.AdamBeta2 != 0.999 || r.Data.Input[0] != "a" {
		t.Errorf("layers in the wrong order: %+v", r.Train)
	}
	// What is written reads back as the same recipe.
	again, err := Resolve(layer(t, string(r.YAML())))
	if err != nil || again.Hash() != r.Hash() {
		t.Errorf("the written recipe reads as another: %v\n%s", err, r.YAML())
	}
	other, err := Resolve(base, layer(t, "train:\n  seed: 43\n"))
	if err != nil || other.Hash() == r.Hash() {
		t.Errorf("two recipes with one hash, %v", err)
	}
	method, err := Resolve(base, layer(t, "method:\n  peft_type: IA3\n"))
	if err != nil || method.Method["r"] != nil {
		t.Errorf("another method keeps r: %v %v", method, err)
	}
}

func TestSet(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\n")
	for _, c := range []struct{ key, value, want string }{
		{"train.seed", "5", ""},
		{"data.input", "x.txt,y/*.txt", ""},
		{"method.lora_dropout", "0.1", ""},
		{"seeed", "5", `nearest known one is "seed"`},
		{"train.seeed", "5", `nearest known one is "train.seed"`},
		{"batch_size", "x", "integer"},
		{"train.max_steps", "0", "at least 1"},
		{"packing", "worst", "one of best_fit, bfd_split, bfd, wrapped, none"},
		{"memory_limit", "2 apples", "must be a size"},
		{"learning_rate", "-1", "not negative"},
		{"clean", "gopher_repetition,gopher_quality", ""},
		{"clean", "[{rule: gopher_quality, min_doc_words: 20}, c4]", ""},
		{"clean", "[{rule: gopher_repetition, top_n_grams: [[2, 0.3], [3, 0.2]]}]", ""},
		{"clean", "gopher", "is unknown"},
		{"clean", "[{rule: gopher_quality, min_words: 20}]", "unknown key \"min_words\""},
		{"clean", "[{min_doc_words: 20}]", "has no name"},
		{"clean", "[{rule: gopher_quality, min_doc_words: many}]", "gopher_quality"},
		{"dedupe", "[exact, {rule: minhash, num_buckets: 20}]", ""},
		{"dedupe", "[{rule: minhash, buckets: 20}]", "unknown key"},
	} {
		l, err := Set(c.key, c.value)
		if err == nil {
			_, err = Resolve(base, l)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s=%s: got %v, want %q", c.key, c.value, err, c.want)
		}
	}
	l, err := Set("input", "x.txt,y/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Resolve(base, l); err != nil || len(r.Data.Input) != 2 || r.Data.Input[1] != "y/*.txt" {
		t.Errorf("input list: %v %v", r, err)
	}
}

func TestLimit(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "2GiB": 2 << 30, "800MiB": 800 << 20, "1.5 KiB": 1536, "1000": 1000, "3kB": 3000} {
		if got, err := (&Model{MemoryLimit: text}).Limit(); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
}

// TestSources: files alone and mappings of settings are one; what a source may not have is refused with its name.
func TestSources(t *testing.T) {
	base := layer(t, "model:\n  path: m\n")
	if l, err := Set("data.sources", "{de: german/*.jsonl}"); err != nil {
		t.Fatal(err)
	} else if r, err := Resolve(base, l); err != nil || len(r.Data.Sources) != 1 || r.Data.Held() {
		t.Errorf("files alone: %v", err)
	}
	set, err := Set("data.sources", "{de: {input: german/*.jsonl, eval_input: [d]}, fr: {input: [a.txt, b.txt], eval_input: c.txt, "+
		"max_tokens: 1000000}, en-de: {input: p.jsonl, eval_input: q.jsonl, translation: [en, de], max_documents: 5}}")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(base, set)
	if err != nil {
		t.Fatal(err)
	}
	named, err := r.Data.Named()
	if err != nil || len(named) != 3 || named[0].Name != "de" || named[0].Input[0] != "german/*.jsonl" || named[1].Name != "en-de" ||
		named[1].Translation[1] != "de" ||
		named[1].MaxDocuments != 5 || named[2].EvalInput[0] != "c.txt" || named[2].MaxTokens != 1000000 || !r.Data.Held() {
		t.Errorf("%+v %v", named, err)
	}
	if again, err := Resolve(layer(t, string(r.YAML()))); err != nil || again.Hash() != r.Hash() {
		t.Errorf("the written recipe reads as another: %v\n%s", err, r.YAML())
	}
	for _, c := range []struct{ text, want string }{
		{"{de: {input: a, weigth: 2}}", `data.sources.de: unknown key "weigth"; the nearest known one is "weight"`},
		{"{de: {input: a, eval_input: b}, fr: c}", "data.sources.fr: it has no eval_input"},
		{"{de: {weight: 2}}", "data.sources.de: input must name"},
		{"{de: {input: a, weight: two}}", "data.sources.de"},
		{"{de: {input: a, weight: 2}, fr: b}", "source fr has no weight"},
		{"{de: {input: a, translation: [en]}}", "data.sources.de: translation is [en]"},
		{"{de: {input: a, max_tokens: -1}}", "must not be negative"},
	} {
		l, err := Set("data.sources", c.text)
		if err == nil {
			_, err = Resolve(base, l)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
	both := layer(t, "data:\n  input: [x]\n  sampling_temperature: 3\n")
	if _, err := Resolve(base, set, both); err == nil || !strings.Contains(err.Error(), "when sources are named") {
		t.Errorf("input and sources: %v", err)
	}
	if _, err := Resolve(base, both); err == nil || !strings.Contains(err.Error(), "no sources to sample") {
		t.Errorf("a temperature without sources: %v", err)
	}
}

func TestDelimiter(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\nmethod:\n  peft_type: LORA\n  r: 8\n")
	for text, ok := range map[string]bool{";": true, "tab": true, `\t`: true, "\t": true, "": true, "§": true, ";;": false, `"`: false, "\n": false} {
		l, err := Set("delimiter", text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Resolve(base, l)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "data.delimiter") {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil {
			if again, err := Resolve(layer(t, string(r.YAML()))); err != nil || again.Data.Delimiter != strings.ReplaceAll(text, "\t",
				"tab") {
				t.Errorf("%q is read back as %q, %v", text, again.Data.Delimiter, err)
			}
		}
	}
}

// A recipe keeps the hash that the first version gave it until a key added since gets another value than its default.
func TestHashStays(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\nmethod:\n  peft_type: LORA\n  r: 8\n")
	r, err := Resolve(base)
	if err != nil {
		t.Fatal(err)
	}
	// Printed by the program of the commit before the first key was added.
	if got, want := r.Hash(), "6231818fdab3f661d89a87cd4af18ad20969efa94f8692d99d5ca6419a8bac9d"; got != want {
		t.Errorf("hash %s, want %s", got, want)
	}
	for _, text := range []string{"prepare:\n  add_eos: false\n", "prepare:\n  add_eos: \"false\"\n", "prepare:\n  add_bos: true\n",
		"prepare:\n  document_separator: <|end|>\n"} {
		x, err := Resolve(base, layer(t, text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if x.Hash() == r.Hash() {
			t.Errorf("%s: another value does not change the hash", text)
		}
		if again, err := Resolve(layer(t, string(x.YAML()))); err != nil || again.Hash() != x.Hash() {
			t.Errorf("%s reads as another: %v", text, err)
		}
	}
	if _, err := Resolve(base, layer(t, "prepare:\n  add_bos: maybe\n")); err == nil || !strings.Contains(err.Error(), "prepare.add_bos") {
		t.Errorf("add_bos: maybe: %v", err)
	}
}
