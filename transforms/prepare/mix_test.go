package prepare

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/recipe"
)

// mixed writes three sources: a of 200 documents in two files, b of 50, c of 10; each document has 20 to 29 tokens.
func mixed(t *testing.T, in string) []recipe.Source {
	t.Helper()
	doc := func(name string, i int) string {
		return fmt.Sprintf("%s %03d ", name, i) + strings.Repeat("x", 13+i%10)
	}
	for _, f := range []struct {
		name     string
		from, to int
	}{{"a/1.txt", 0, 120}, {"a/2.txt", 120, 200}, {"b.txt", 0, 50}, {"c.txt", 0, 10}} {
		var b strings.Builder
		for i := f.from; i < f.to; i++ {
			b.WriteString(doc(f.name[:1], i) + "\n")
		}
		write(t, filepath.Join(in, f.name), b.String())
	}
	source := func(name, glob string) recipe.Source {
		return recipe.Source{MixSource: datasets.MixSource{Name: name}, Input: []string{filepath.Join(in, glob)}}
	}
	return []recipe.Source{source("a", "a/*.txt"), source("b", "b.txt"), source("c", "c.txt")}
}

// uses counts in the shards how often each document is used, and the tokens of each source.
func uses(t *testing.T, res *Result) (docs map[string]int, tokens map[string]int64) {
	t.Helper()
	docs, tokens = map[string]int{}, map[string]int64{}
	for _, s := range sequences(t, res.Train) {
		for k, id := range s.DocIDs {
			end := len(s.InputIDs)
			if k+1 < len(s.DocStarts) {
				end = int(s.DocStarts[k+1])
			}
			if s.DocSpans[k][0] == 0 { // the first piece of a document that was cut
				docs[id]++
			}
			tokens[res.Origins[s.Sources[k]]] += int64(end) - int64(s.DocStarts[k])
		}
	}
	return docs, tokens
}

func mixConfig(t *testing.T, tokenizer string, sources []recipe.Source) Config {
	cfg := config(t, tokenizer, "")
	cfg.Inputs, cfg.Sources, cfg.ValidationFraction, cfg.SequenceLength = nil, sources, 0, 128
	return cfg
}

// TestMixTemperature: the tokens of each source are in the ratio n^(1/T), nothing is left out, and repeated documents are spread evenly.
func TestMixTemperature(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	sources := mixed(t, in)
	plain := execute(t, mixConfig(t, tokenizer, sources))
	_, n := uses(t, plain)
	cfg := mixConfig(t, tokenizer, sources)
	cfg.Mix.Temperature = 2
	res := execute(t, cfg)
	docs, tokens := uses(t, res)
	if len(docs) != 260 || tokens["a"] != n["a"] || len(res.Rejected) != 0 {
		t.Fatalf("%d documents, %v tokens, rejected %v", len(docs), tokens, res.Rejected)
	}
	for _, s := range []string{"b", "c"} { // p_s/p_a = sqrt(n_s/n_a): tokens² = n_s·n_a, less than a document short
		want := n[s] * n["a"]
		if lo, hi := tokens[s], tokens[s]+30; lo*lo > want+2*lo || hi*hi < want {
			t.Errorf("%s has %d tokens, its share is √%d", s, tokens[s], want)
		}
	}
	for id, k := range docs {
		if o := res.Origins[strings.Split(id, "#")[0]]; o == "a" && k != 1 || o == "b" && k != 2 && k != 3 || o == "c" && k != 4 && k != 5 {
			t.Errorf("%s is used %d times", id, k)
		}
	}
	last := res.Funnel[len(res.Funnel)-1]
	if last.Name != "mix" || last.In != 260 || last.Kept != 260 || last.Counters["a.repeated"] != 0 || last.Counters["b.repeated"] == 0 ||
		last.Counters["c.tokens"] != tokens["c"] {
		t.Errorf("%+v", last)
	}
	var all int
	for _, k := range docs {
		all += k
	}
	if rep := last.Counters["b.repeated"] + last.Counters["c.repeated"]; int64(all) != 260+rep {
		t.Errorf("%d uses, the funnel says %d", all, 260+rep)
	}
}

// TestMixCaps: no more documents and tokens than the caps, what is beyond is counted and in the dead letters with the cap.
func TestMixCaps(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	sources := mixed(t, in)
	sources[0].MaxDocuments, sources[1].MaxTokens = 30, 500
	cfg := mixConfig(t, tokenizer, sources)
	res := execute(t, cfg)
	docs, tokens := uses(t, res)
	count := map[string]int{}
	for id := range docs {
		count[res.Origins[strings.Split(id, "#")[0]]]++
	}
	if count["a"] != 30 || count["c"] != 10 || tokens["b"] > 500 || tokens["b"] < 500-30 {
		t.Fatalf("%v documents, %v tokens", count, tokens)
	}
	want := map[string]int64{"mix.max_documents": 170, "mix.max_tokens": int64(50 - count["b"])}
	if !maps.Equal(res.Rejected, want) || res.Kept != int64(len(docs)) || res.Read != 260 {
		t.Fatalf("%v, want %v; %d kept", res.Rejected, want, res.Kept)
	}
	seen := map[string]int64{}
	for _, f := range res.RejectFiles {
		if err := datasets.ReadRejects(f, func(r *datasets.Reject) bool {
			seen[r.Rule+"."+r.Reason]++
			if docs[datasets.DocID(r.Source, r.Index)] != 0 ||
				r.Threshold != map[string]string{"max_documents": "30", "max_tokens": "500"}[r.Reason] || len(r.Record) == 0 {
				t.Errorf("%+v", r)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(seen, want) {
		t.Errorf("dead letters %v, want %v", seen, want)
	}
	// The same documents, whatever the caps are reached with: a cap twice as large holds what the smaller holds.
	sources[0].MaxDocuments = 60
	more, _ := uses(t, execute(t, mixConfig(t, tokenizer, sources)))
	for id := range docs {
		if more[id] == 0 {
			t.Errorf("%s was within the smaller cap and is not within the larger", id)
		}
	}
}

// TestMixWeights: shares by weight; first_exhausted repeats nothing and leaves out the rest; held-out documents stay as they are.
func TestMixWeights(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	sources := mixed(t, in)
	for i := range sources {
		sources[i].Weight = 1
	}
	cfg := mixConfig(t, tokenizer, sources)
	cfg.Mix.Strategy, cfg.ValidationFraction = datasets.FirstExhausted, 0.1
	res := execute(t, cfg)
	docs, tokens := uses(t, res)
	for id, n := range docs {
		if n != 1 {
			t.Errorf("%s is used %d times", id, n)
		}
	}
	for _, s := range []string{"a", "b"} {
		if d := tokens["c"] - tokens[s]; d < 0 || d >= 30 {
			t.Errorf("%s has %d tokens, c has %d", s, tokens[s], tokens["c"])
		}
	}
	held := 0
	for _, s := range sequences(t, res.Validation) {
		for k := range s.DocIDs {
			if s.DocSpans[k][0] == 0 {
				held++
			}
		}
	}
	if held < 15 || held > 40 || res.Rejected["mix.share"] != int64(260-len(docs)-held) {
		t.Errorf("%d held out, %d used, %v", held, len(docs), res.Rejected)
	}
}

// TestMixSameBytes: neither the order of sources and files nor how the work is done changes a byte.
func TestMixSameBytes(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	sources := mixed(t, in)
	sources[1].MaxDocuments = 40
	cfg := mixConfig(t, tokenizer, sources)
	cfg.Mix.Temperature, cfg.ValidationFraction = 3.3, 0.1
	first := hashes(execute(t, cfg))
	other := mixConfig(t, tokenizer, []recipe.Source{sources[2], sources[0], sources[1]})
	other.Sources[1].Input = []string{filepath.Join(in, "a/2.txt"), filepath.Join(in, "a/1.txt")}
	other.Mix.Temperature, other.ValidationFraction = 3.3, 0.1
	if h := hashes(execute(t, other)); len(first) < 3 || !slices.Equal(first, h) {
		t.Fatalf("another order:\n%v\n%v", first, h)
	}
	other.Seed++
	if h := hashes(execute(t, other)); slices.Equal(first, h) {
		t.Fatal("the seed changes nothing")
	}
}

// TestMixErrors: what cannot be is refused with the names.
func TestMixErrors(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	for name, c := range map[string]struct {
		edit func(*Config)
		want string
	}{
		"a file of two sources": {func(c *Config) { c.Sources[1].Input = []string{filepath.Join(in, "a/1.txt")} }, "sources a and b"},
		"input and sources":     {func(c *Config) { c.Inputs = []string{in} }, "named twice"},
		"one name":              {func(c *Config) { c.Sources[1].Name = "a" }, "two sources are called a"},
		"no file":               {func(c *Config) { c.Sources[2].Input = []string{filepath.Join(in, "none.txt")} }, "none.txt"},
		"nothing left": {func(c *Config) { c.Sources = c.Sources[:1]; c.Sources[0].MaxTokens = 1 },
			"raise max_documents or max_tokens"},
		"order":       {func(c *Config) { c.Mix.Temperature, c.Order = 2, OrderFile }, "order hash"},
		"translation": {func(c *Config) { c.Sources[0].Translation = []string{"en"} }, "source a: translation"},
	} {
		cfg := mixConfig(t, tokenizer, mixed(t, in))
		c.edit(&cfg)
		if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestTranslation: a row of two languages is a prompt with both names and the translation, which alone has a loss.
func TestTranslation(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	write(t, filepath.Join(in, "t.jsonl"), `{"en": "cat", "de": "Katze"}`+"\n"+`{"translation": {"de": "Hund", "en": "dog"}}`+"\n"+
		`{"en": "only"}`+"\n")
	cfg := mixConfig(t, tokenizer, []recipe.Source{{MixSource: datasets.MixSource{Name: "en-de"},
		Input: []string{filepath.Join(in, "t.jsonl")}, Translation: []string{"en", "de"}}})
	cfg.CompletionOnlyLoss = true
	res := execute(t, cfg)
	var all []string
	for _, s := range sequences(t, res.Train) {
		text, learnt := "", ""
		for i, id := range s.InputIDs {
			if id == eos {
				continue
			}
			text += string(rune(id))
			if s.Labels[i] != datasets.NoLoss {
				learnt += string(rune(id))
			}
		}
		all = append(all, text, learnt)
	}
	if got := strings.Join(all, "|"); !strings.Contains(got, "en: cat\nde: Katze") || !strings.Contains(got, "en: dog\nde: Hund") ||
		!strings.Contains(got, " Katze Hund") && !strings.Contains(got, " Hund Katze") {
		t.Errorf("%q", got)
	}
	if res.Rejected[datasets.ReasonWrongRow] != 1 || !slices.Equal(res.Layouts, []string{"1 files of jsonl, rows: translation"}) {
		t.Errorf("%v %v", res.Rejected, res.Layouts)
	}
}
