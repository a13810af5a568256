package rules

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// textRules are the rules that rewrite texts, under the reference's names of its results.
var textRules = []struct {
	name string
	new  func() Rule
	want func(*goldenRules) *goldenText
}{
	{"pii", func() Rule { p := NewPII(); p.KeepVersions = false; return p }, func(g *goldenRules) *goldenText { return g.PII }},
	{"ftfy", func() Rule { return NewFTFY() }, func(g *goldenRules) *goldenText { return g.FTFY }},
	{"symbol_lines", func() Rule { return NewSymbolLines() }, func(g *goldenRules) *goldenText { return g.Symbols }},
}

// TestGoldenRepairs compares the texts that PII, ftfy and symbol lines leave.
func TestGoldenRepairs(t *testing.T) {
	texts := map[string]string{}
	for _, d := range jsonLines[goldenDoc](t, filepath.Join(datatrove(t), "docs.jsonl.gz")) {
		texts[d.ID] = d.Text
	}
	rows := jsonLines[goldenRules](t, filepath.Join(datatrove(t), "rules.jsonl.gz"))
	for _, c := range textRules {
		r := c.new()
		if err := r.Prepare(); err != nil {
			t.Fatal(err)
		}
		n, changed, bad := 0, 0, 0
		for i := range rows {
			want := c.want(&rows[i])
			if want == nil {
				continue
			}
			n++
			text := texts[rows[i].ID]
			v := r.Apply(&Doc{Text: text, Splitter: &given{}})
			got := v.Text
			if !v.Keep && v.Reason == "empty" && want.Len <= strings.Count(text, "\n")+1 {
				n-- // out of scope: the reference keeps a document of which nothing but line breaks is left
				continue
			}
			if !want.Same {
				changed++
			}
			if !want.equal(got, text) {
				if bad++; bad <= 8 {
					w := ""
					if want.Text != nil {
						w = *want.Text
					}
					k := 0
					for k < len(got) && k < len(w) && got[k] == w[k] {
						k++
					}
					t.Errorf("%s: %s: at %d %q, datatrove %q (same %v, of %d)", c.name, rows[i].ID, k, got[k:min(len(got), k+80)],
						w[k:min(len(w), k+80)], want.Same, want.Len)
				}
			}
		}
		t.Logf("%s: %d cases, %d changed, %d differ", c.name, n, changed, bad)
		if n == 0 {
			t.Errorf("%s: no case", c.name)
		}
	}
}

// TestGoldenURL compares the decisions on addresses; those of the reference's integrated lists hit none of them.
func TestGoldenURL(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(datatrove(t), "url_config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct{ Custom map[string]any }
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	config.Custom["rule"] = "url_filter"
	custom, err := Decode(config.Custom)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range jsonLines[struct {
		Config, URL string
		D           decision
	}](t, filepath.Join(datatrove(t), "url.jsonl.gz")) {
		if g.Config != "custom" || g.URL == "" {
			continue // out of scope: the reference's own lists of 4.6 million domains
		}
		n++
		v := custom.Apply(&Doc{URL: g.URL})
		if v.Keep != g.D.Keep || v.Reason != g.D.Reason {
			t.Errorf("%s: %v %s (%s), datatrove %+v", g.URL, v.Keep, v.Reason, v.Value, g.D)
		}
	}
	t.Logf("%d cases", n)
}

// TestGoldenUnigram compares the mean log probabilities and decisions.
func TestGoldenUnigram(t *testing.T) {
	f, err := os.Open(filepath.Join(datatrove(t), "unigram_freq.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	counts, err := parseCounts(z)
	if err != nil {
		t.Fatal(err)
	}
	u := NewUnigramLogProb()
	u.use(counts)
	words := map[string][]string{}
	for _, w := range jsonLines[goldenWords](t, filepath.Join(datatrove(t), "words.jsonl.gz")) {
		words[w.ID] = w.W
	}
	n := 0
	for _, g := range jsonLines[struct {
		ID      string
		Logprob float64
		Keep    bool
	}](t, filepath.Join(datatrove(t), "unigram.jsonl.gz")) {
		w, ok := words[g.ID]
		if !ok {
			continue // not among the documents here
		}
		n++
		v := u.Apply(&Doc{Splitter: &given{words: w}})
		if x := u.LogProb(w); math.Abs(x-g.Logprob) > 1e-9 || v.Keep != g.Keep {
			t.Errorf("%s: %g %v, datatrove %g %v", g.ID, x, v.Keep, g.Logprob, g.Keep)
		}
	}
	t.Logf("%d cases", n)
}
