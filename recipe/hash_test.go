package recipe

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// everyKey is a recipe with another value than the default for every key that goes with the others.
func everyKey(t *testing.T) Layer {
	t.Helper()
	text, err := os.ReadFile("testdata/every_key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return layer(t, string(text))
}

// TestHashesStay: hashes are those that the program gave before the sections became their owners' types (printed by the commit before).
func TestHashesStay(t *testing.T) {
	for _, c := range []struct {
		layer Layer
		want  string
	}{
		{everyKey(t), "a7cab818931abe98d36529d343ce69cf0f2221bbb045cfa1c35c26ced2bc1e94"},
		{layer(t, "model:\n  path: m\n  task: SEQ_CLS\ndata:\n  sources:\n    de: a.jsonl\n    fr: {input: [b, c], weight: 0, "+
			"max_tokens: 7, max_documents: 3}\n"+
			"  sampling_temperature: 3.33\nmethod:\n  peft_type: ia3\n"),
			"72690f50a7d022fc667de27986b1e45044d7cbb02ef08c24f9c621432082bd4d"},
		{layer(t, "model:\n  path: m\ndata:\n  input: [a]\n  general_input: [g]\ncontinual:\n  increment_files: 3\n"),
			"06f648726c370aae9ccfaf995ae775a4c030e19d3a7ddead61edcde5d1f0f421"},
		{layer(t, "model:\n  path: m\ndata:\n  input: [a]\n  key_column: who\ntrain:\n  mode: local\n"),
			"c3a430af66f8623ebcd52da8e429ecac80cc1b54245263f115f548397572897d"},
	} {
		r, err := Resolve(c.layer)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Hash(); got != c.want {
			t.Errorf("hash %s, want %s", got, c.want)
		}
		again, err := Resolve(layer(t, string(r.YAML())))
		if err != nil || again.Hash() != c.want || len(again.Warnings) > 0 {
			t.Errorf("what is written reads as %s, %v", again.Hash(), err)
		}
	}
}

// TestHashed: every key is part of the hash, and every key of the hash is one of a recipe.
func TestHashed(t *testing.T) {
	var in []string
	for _, s := range hashed {
		for _, k := range strings.Fields(s.keys) {
			name, _, _ := strings.Cut(strings.TrimPrefix(k, "+"), "=")
			in = append(in, s.section+"."+name)
			if f := find(s.section + "." + name); f == nil || f.Since != "" && !strings.HasPrefix(k, "+") {
				t.Errorf("%s.%s: no key, or one that is newer than its place says", s.section, k)
			}
		}
	}
	for _, f := range Fields() {
		if !slices.Contains(in, f.Path) {
			t.Errorf("%s is not a part of the hash: two recipes would share an output folder", f.Path)
		}
	}
	// Another value of any key is another hash.
	r, err := Resolve(everyKey(t))
	if err != nil {
		t.Fatal(err)
	}
	def := Default()
	for _, f := range Fields() {
		x := *r
		if x.text(f.Path) == def.text(f.Path) { // those that exclude others
			continue
		}
		x.field(f.Path).Set(def.field(f.Path))
		if x.Hash() == r.Hash() {
			t.Errorf("%s changes no hash", f.Path)
		}
	}
}

// TestFormerNames: a former name is read, with a warning, in every layer; both at once are refused.
func TestFormerNames(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\ntrain:\n  mode: local\n")
	set, err := Set("outer_lr", "0.5")
	if err != nil {
		t.Fatal(err)
	}
	dotted, err := Set("train.outer_lr", "0.5")
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range []Layer{layer(t, "train:\n  outer_lr: 0.5\n"), set, dotted} {
		r, err := Resolve(base, layer(t, "train:\n  outer_learning_rate: 0.9\n"), l)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if r.Train.OuterLearningRate != 0.5 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0],
			"train.outer_lr is now called train.outer_learning_rate") {
			t.Errorf("%d: %g %q", i, r.Train.OuterLearningRate, r.Warnings)
		}
		if r.Hash() != "" && strings.Contains(string(r.YAML()), "outer_lr:") {
			t.Errorf("the former name is written:\n%s", r.YAML())
		}
	}
	if _, err := Parse("r.yaml", []byte("train:\n  outer_lr: 1\n  outer_learning_rate: 1\n")); err == nil ||
		!strings.Contains(err.Error(), "r.yaml: line 2") {
		t.Errorf("both names: %v", err)
	}
	if _, err := Parse("r.yaml", []byte("train:\n  outer_lr: much\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a wrong value: %v", err)
	}
}
