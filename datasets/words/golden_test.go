package words

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/golden"
)

type goldenRow struct {
	ID, Text  string
	W         []string
	NS        int              `json:"ns"`
	Splits    map[int][]string `json:"splits"`
	SentSpans [][2]int         `json:"sent_spans"`
}

func rows(t *testing.T, name string) []goldenRow {
	t.Helper()
	f, err := os.Open(filepath.Join(golden.Root(t, "../rules/testdata"), "datatrove", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []goldenRow
	s := bufio.NewScanner(z)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var r goldenRow
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return out
}

// diff shows where two lists of words part.
func diff(a, b []string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	return strings.Join(a[max(0, i-2):min(len(a), i+4)], "|") + "   WANT   " + strings.Join(b[max(0, i-2):min(len(b), i+4)], "|")
}

func splitter(t *testing.T, lang string) rules.Splitter {
	s, err := For(lang)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGoldenWords compares with what spaCy makes of every document: its words, those of the simplified text, its sentences.
func TestGoldenWords(t *testing.T) {
	texts := map[string]string{}
	for _, d := range rows(t, "docs.jsonl.gz") {
		texts[d.ID] = d.Text
	}
	en := splitter(t, "en")
	var all, words, sentences, simple, spans int
	for _, w := range rows(t, "words.jsonl.gz") {
		all++
		text := texts[w.ID]
		if got := en.Words(text); !slices.Equal(got, w.W) {
			if words++; words <= 40 {
				t.Errorf("%s: words %s", w.ID, diff(got, w.W))
			}
		}
		var want []string
		plain := rules.Simplify(text)
		for i, x := range strings.Fields(plain) {
			if cut, ok := w.Splits[i]; ok {
				want = append(want, cut...)
			} else {
				want = append(want, x)
			}
		}
		if got := en.Words(plain); !slices.Equal(got, want) {
			if simple++; simple <= 20 {
				t.Errorf("%s: simplified words %s", w.ID, diff(got, want))
			}
		}
		if w.SentSpans == nil || strings.Contains(text, "IS_ALPHA") {
			continue // out of scope: datatrove takes that word out of the text, since spaCy fails on it, and counts on without it
		}
		spans++
		var got [][2]int
		for _, s := range en.Sentences(text) {
			a := utf8.RuneCountInString(text[:s.Start])
			got = append(got, [2]int{a, a + utf8.RuneCountInString(text[s.Start:s.End])})
		}
		if !slices.Equal(got, w.SentSpans) {
			if sentences++; sentences <= 20 {
				t.Errorf("%s: sentences %v, want %v", w.ID, got[:min(8, len(got))], w.SentSpans[:min(8, len(w.SentSpans))])
			}
		}
	}
	if all < 50 {
		t.Errorf("%d cases", all)
	}
	t.Logf("%d cases: words of %d differ, simplified words of %d, sentences of %d of %d", all, words, simple, sentences, spans)
	de := splitter(t, "deu")
	all, words = 0, 0
	for _, w := range rows(t, "rules_lang.jsonl.gz") {
		all++
		if got := de.Words(texts[w.ID]); !slices.Equal(got, w.W) {
			if words++; words <= 20 {
				t.Errorf("%s: German words %s", w.ID, diff(got, w.W))
			}
		}
	}
	t.Logf("%d German cases: words of %d differ", all, words)
}

// TestGoldenDecisions compares what the rules decide with this splitter with what datatrove decided with its own.
func TestGoldenDecisions(t *testing.T) {
	texts := map[string]string{}
	for _, d := range rows(t, "docs.jsonl.gz") {
		texts[d.ID] = d.Text
	}
	for _, file := range []struct{ name, lang string }{{"rules.jsonl.gz", "en"}, {"rules_lang.jsonl.gz", "de"}} {
		f, err := os.Open(filepath.Join(golden.Root(t, "../rules/testdata"), "datatrove", file.name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		total, differ := 0, 0
		for d := json.NewDecoder(z); d.More(); {
			var row map[string]json.RawMessage
			if err := d.Decode(&row); err != nil {
				t.Fatal(err)
			}
			var id string
			if err := json.Unmarshal(row["id"], &id); err != nil {
				t.Fatal(err)
			}
			doc := rules.Doc{Text: texts[id], Splitter: splitter(t, file.lang)}
			for _, name := range []string{"gopher_repetition", "gopher_quality", "c4", "c4_paragraph", "fineweb_quality"} {
				var want struct{ D []any }
				if err := json.Unmarshal(row[name], &want); err != nil || len(want.D) != 2 {
					continue // the reference raised an exception
				}
				e, err := rules.Find(name)
				if err != nil {
					t.Fatal(err)
				}
				r := e.New()
				if err := r.Prepare(); err != nil {
					t.Fatal(err)
				}
				v := r.Apply(&doc)
				reason, _ := want.D[1].(string)
				total++
				if v.Keep != want.D[0] || v.Reason != reason {
					if differ++; differ <= 5 {
						t.Errorf("%s %s: %v %q, datatrove %v", id, name, v.Keep, v.Reason, want.D)
					}
				}
			}
		}
		t.Logf("%s: %d cases, %d differ", file.name, total, differ)
		if total == 0 {
			t.Errorf("%s: no case", file.name)
		}
	}
}

func TestFor(t *testing.T) {
	for _, c := range []string{"en", "eng", "de", "fr", "fra", "xx", "ja", "cmn", "th"} {
		if _, err := For(c); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []string{"", "e", "english", "e1"} {
		if _, err := For(c); err == nil {
			t.Errorf("%q has a splitter", c)
		}
	}
}

// FuzzWords: words are parts of the text in order, and nothing but white space is left out.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"Don't (e.g. this) http://a.b/c?d=1 US$5km. x:)", "a…b --c", "\xff\xc2 \u2028..", "°C. 5kg+", "\u2028\xa8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range []string{"en", "de", "xx"} {
			s := splitter(t, l)
			rest := strings.TrimLeftFunc(text, rules.IsSpace)
			for _, w := range s.Words(text) {
				after, ok := strings.CutPrefix(rest, w)
				if w == "" || !ok {
					t.Fatalf("%q before %q of %q", w, rest, text)
				}
				rest = strings.TrimLeftFunc(after, rules.IsSpace)
			}
			if rest != "" {
				t.Fatalf("%q is left of %q", rest, text)
			}
			end := 0
			for _, sp := range s.Sentences(text) {
				if sp.Start < end || sp.End <= sp.Start || sp.End > len(text) {
					t.Fatalf("sentence %v after %d of %q", sp, end, text)
				}
				end = sp.End
			}
		}
	})
}

func BenchmarkWords(b *testing.B) {
	text := strings.Repeat("The quick brown fox, who can't jump (see fig. 3), ran 12 km/h over state-of-the-art fences. ", 50)
	s, _ := For("en")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		s.Words(text)
	}
}
