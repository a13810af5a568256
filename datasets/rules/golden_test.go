package rules

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// decision is datatrove's [kept, reason], or the exception it raised.
type decision struct {
	Keep      bool
	Reason    string
	Exception string
}

func (d *decision) UnmarshalJSON(b []byte) error {
	if b[0] == '{' {
		var e struct{ Exception string }
		err := json.Unmarshal(b, &e)
		d.Exception = e.Exception
		return err
	}
	var reason *string
	err := json.Unmarshal(b, &[]any{&d.Keep, &reason})
	if reason != nil {
		d.Reason = *reason
	}
	return err
}

type goldenText struct {
	Same bool
	Sha  string
	Len  int
	Text *string
	N    []int
}

func (g *goldenText) equal(got, original string) bool {
	if g.Same {
		return got == original
	}
	return g.Sha == sha16(got) && g.Len == utf8.RuneCountInString(got)
}

func sha16(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:8])
}

type goldenC4 struct {
	D         decision
	Exception string
	Lines     map[string]int
	Sents     []int
	Out       *goldenText
}

type goldenRules struct {
	ID        string
	W         []string
	Language  string
	Quality   struct{ D decision } `json:"gopher_quality"`
	Repeat    struct{ D decision } `json:"gopher_repetition"`
	FineWeb   struct{ D decision } `json:"fineweb_quality"`
	Paragraph struct{ D decision } `json:"c4_paragraph"`
	C4        goldenC4             `json:"c4"`
	C4FineWeb goldenC4             `json:"c4_fineweb"`
	C4Sents   *goldenC4            `json:"c4_sentences"`
	Chain     struct {
		Dropped []string
		Out     *goldenText
	} `json:"fineweb_chain"`
	PII     *goldenText `json:"pii"`
	FTFY    *goldenText `json:"ftfy"`
	Symbols *goldenText `json:"symbol_lines"`
}

type goldenWords struct {
	ID        string
	W         []string
	NS        int              `json:"ns"`
	Splits    map[int][]string `json:"splits"`
	SimpSha   string           `json:"simp_sha"`
	Simp      *string          `json:"simp"`
	SentSpans [][2]int         `json:"sent_spans"`
}

type goldenDoc struct {
	ID, Lang, Src, Kind, Text string
	File, Doc                 int
}

func jsonLines[T any](t testing.TB, path string) []T {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	s := bufio.NewScanner(z)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var x T
		if err := json.Unmarshal(s.Bytes(), &x); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		out = append(out, x)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return out
}

func datatrove(t testing.TB) string {
	return filepath.Join(golden.Root(t, "testdata"), "datatrove")
}

// given is a splitter that says what the reference's said.
type given struct {
	words  []string
	counts []int // sentences of each line asked for, in order
	spans  []Span
}

func (g *given) Words(string) []string { return g.words }

func (g *given) Sentences(text string) []Span {
	if g.spans != nil {
		return g.spans
	}
	n := 0
	if len(g.counts) > 0 {
		n, g.counts = g.counts[0], g.counts[1:]
	}
	return make([]Span, n)
}

// bytesOf turns spans in code points into spans in bytes.
func bytesOf(text string, spans [][2]int) []Span {
	at := make([]int, 0, len(text)+1)
	for i := range text {
		at = append(at, i)
	}
	at = append(at, len(text))
	out := make([]Span, len(spans))
	for i, s := range spans {
		out[i] = Span{at[s[0]], at[s[1]]}
	}
	return out
}

// tally counts agreement rule by rule.
type tally struct {
	t    *testing.T
	n    map[string]int
	bad  map[string]int
	skip map[string][]string
}

func newTally(t *testing.T) *tally {
	return &tally{t, map[string]int{}, map[string]int{}, map[string][]string{}}
}

func (c *tally) check(rule, id string, ok bool, got, want any) {
	c.n[rule]++
	if !ok {
		if c.bad[rule]++; c.bad[rule] <= 8 {
			c.t.Errorf("%s of %s: got %+v, datatrove %+v", rule, id, got, want)
		}
	}
}

func (c *tally) print() {
	var names []string
	for n := range c.n {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		c.t.Logf("%-22s %5d documents, %d differ", n, c.n[n], c.bad[n])
	}
	for n, ids := range c.skip {
		c.t.Logf("%-22s %5d out of scope: %s", n, len(ids), strings.Join(ids[:min(len(ids), 12)], " "))
	}
}

func (c *tally) decide(rule, id string, d *Doc, r Rule, want decision) {
	c.t.Helper()
	if want.Exception != "" {
		c.skip[rule+", datatrove raises"] = append(c.skip[rule+", datatrove raises"], id)
		return
	}
	v := r.Apply(d)
	c.check(rule, id, v.Keep == want.Keep && v.Reason == want.Reason && (v.Keep || v.Value != "" && v.Threshold != ""), v, want)
	if v.Keep && v.Text != d.Text {
		c.t.Errorf("%s of %s changed the text", rule, id)
	}
}

func (c *tally) c4(rule, id, text string, s *given, r Rule, want *goldenC4) {
	if want.Exception != "" {
		c.skip[rule+", datatrove raises"] = append(c.skip[rule+", datatrove raises"], id)
		return
	}
	v := r.Apply(&Doc{Text: text, Splitter: s})
	lines := map[string]int{}
	for _, n := range v.Counters {
		lines[n.Name] = n.N
	}
	ok := v.Keep == want.D.Keep && v.Reason == want.D.Reason && len(lines) == len(want.Lines) && (!v.Keep || want.Out.equal(v.Text, text))
	for k, n := range want.Lines {
		ok = ok && lines[k] == n
	}
	v.Text = ""
	c.check(rule, id, ok, v, want)
}

func prepared[R Rule](t testing.TB, r R) R {
	t.Helper()
	if err := r.Prepare(); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGoldenDatatrove repeats datatrove's decisions, given its words and sentences.
func TestGoldenDatatrove(t *testing.T) {
	dir := datatrove(t)
	texts := map[string]string{}
	for _, d := range jsonLines[goldenDoc](t, filepath.Join(dir, "docs.jsonl.gz")) {
		texts[d.ID] = d.Text
	}
	words := map[string]goldenWords{}
	for _, w := range jsonLines[goldenWords](t, filepath.Join(dir, "words.jsonl.gz")) {
		words[w.ID] = w
	}
	quality, repeat := prepared(t, NewGopherQuality()), prepared(t, NewGopherRepetition())
	fineweb, paragraph := prepared(t, NewFineWebQuality()), prepared(t, NewC4Paragraph())
	c4, c4fw, c4s := NewC4(), NewC4(), NewC4()
	c4fw.FilterNoTerminalPunct, c4s.SplitParagraph = false, false
	prepared(t, c4)
	c := newTally(t)
	defer c.print()
	all := func(suffix string, g *goldenRules, w []string, text string) {
		d := &Doc{Text: text, Splitter: &given{words: w}}
		c.decide("gopher_quality"+suffix, g.ID, d, quality, g.Quality.D)
		c.decide("gopher_repetition"+suffix, g.ID, d, repeat, g.Repeat.D)
		c.decide("fineweb_quality"+suffix, g.ID, d, fineweb, g.FineWeb.D)
		c.decide("c4_paragraph"+suffix, g.ID, d, paragraph, g.Paragraph.D)
		c.c4("c4"+suffix, g.ID, text, &given{counts: g.C4.Sents}, c4, &g.C4)
		c.c4("c4_fineweb"+suffix, g.ID, text, &given{counts: g.C4FineWeb.Sents}, c4fw, &g.C4FineWeb)
	}
	for _, g := range jsonLines[goldenRules](t, filepath.Join(dir, "rules.jsonl.gz")) {
		text, w := texts[g.ID], words[g.ID]
		all("", &g, w.W, text)
		if w.SentSpans == nil && utf8.RuneCountInString(text) > 6000 {
			c.skip["c4_sentences, no spans"] = append(c.skip["c4_sentences, no spans"], g.ID)
		} else if len(w.SentSpans) > 0 {
			c.c4("c4_sentences", g.ID, text, &given{spans: bytesOf(text, w.SentSpans)}, c4s, g.C4Sents)
		}
		s := &given{words: w.W, counts: g.C4FineWeb.Sents}
		r, v := Chain([]Rule{repeat, quality, c4fw, fineweb}, &Doc{Text: text, Splitter: s})
		if r == nil {
			c.check("fineweb_chain", g.ID, g.Chain.Out != nil && g.Chain.Out.equal(v.Text, text), "kept", g.Chain)
		} else {
			name := r.Name()
			if name == "c4" {
				name = "c4_fineweb"
			}
			c.check("fineweb_chain", g.ID, len(g.Chain.Dropped) == 2 && g.Chain.Dropped[0] == name && g.Chain.Dropped[1] == v.Reason,
				[]string{name, v.Reason}, g.Chain)
		}
	}
	for _, g := range jsonLines[goldenRules](t, filepath.Join(dir, "rules_lang.jsonl.gz")) {
		all(" in "+g.Language, &g, g.W, texts[g.ID])
	}
}
