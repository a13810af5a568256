package words

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

func jsonReader(b []byte) io.Reader { return bytes.NewReader(b) }

// dirtyRow is a row of the manifest with the text that it is about.
type dirtyRow struct {
	File, ID, How string
	Line          int
	Labels        []string
	DupOf         string   `json:"dup_of"`
	CleanText     string   `json:"clean_text"`
	MustNot       []string `json:"must_not_contain"`
	Spans         []struct {
		Kind, Value string
	}
	Question string
	Text     string `json:"-"`
}

func (r *dirtyRow) is(label string) bool {
	for _, l := range r.Labels {
		if l == label {
			return true
		}
	}
	return false
}

// dirty reads the rows of a file of the dirty corpus.
func dirty(t *testing.T, file string) []dirtyRow {
	t.Helper()
	root := os.Getenv("ADAPTFLOW_DIRTY")
	if root == "" {
		t.Skip("ADAPTFLOW_DIRTY names no folder")
	}
	b, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(b, []byte("\n"))
	var out []dirtyRow
	for d := json.NewDecoder(jsonReader(gunzip(t, filepath.Join(root, "manifest.jsonl.gz")))); d.More(); {
		var r dirtyRow
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.File != file {
			continue
		}
		var row struct{ Text string }
		if err := json.Unmarshal(lines[r.Line-1], &row); err != nil {
			t.Fatalf("%s:%d: %v", file, r.Line, err)
		}
		r.Text = row.Text
		out = append(out, r)
	}
	return out
}

func decode(t *testing.T, settings map[string]any) rules.Rule {
	t.Helper()
	r, err := rules.Decode(settings)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDirtyMojibake: every planted mojibake becomes the text that it was.
func TestDirtyMojibake(t *testing.T) {
	r := decode(t, map[string]any{"rule": "ftfy"})
	n := 0
	for _, d := range dirty(t, "mojibake.jsonl") {
		n++
		if v := r.Apply(&rules.Doc{Text: d.Text}); v.Text != d.CleanText {
			k := 0
			for k < len(v.Text) && k < len(d.CleanText) && v.Text[k] == d.CleanText[k] {
				k++
			}
			t.Errorf("%s (%s): at %d %q, want %q", d.ID, d.How, k, v.Text[k:min(len(v.Text), k+60)],
				d.CleanText[k:min(len(d.CleanText), k+60)])
		}
	}
	t.Logf("%d cases", n)
}

// TestDirtyPII: every planted item is masked and nothing of the decoys is.
func TestDirtyPII(t *testing.T) {
	r := decode(t, map[string]any{"rule": "pii", "only_remove_public_ips": false,
		"kinds": []string{"email", "ip", "ipv6", "mac", "iban", "card", "ssn", "phone", "url_token"}})
	items, decoys, clean := 0, 0, 0
	for _, d := range dirty(t, "pii.jsonl") {
		v := r.Apply(&rules.Doc{Text: d.Text})
		for _, s := range d.Spans {
			items++
			if strings.Contains(v.Text, s.Value) {
				t.Errorf("%s: the %s %s is left", d.ID, s.Kind, s.Value)
			}
		}
		n := 0
		for _, c := range v.Counters {
			n += c.N
		}
		if n != len(d.Spans) {
			t.Errorf("%s: %d items found, %d planted: %v in %q", d.ID, n, len(d.Spans), v.Counters, v.Text)
		}
		if d.is("pii_decoy") {
			decoys++
		} else if len(d.Spans) == 0 {
			clean++
		}
	}
	t.Logf("%d items, %d decoys, %d clean documents: all cases as labelled", items, decoys, clean)
}

// TestDirtyHTML: nothing of the markup is left, and the text is there.
func TestDirtyHTML(t *testing.T) {
	page, entities := decode(t, map[string]any{"rule": "html_text"}), decode(t, map[string]any{"rule": "ftfy"})
	n := 0
	for _, d := range dirty(t, "html.jsonl") {
		n++
		if d.is("html_entities") {
			if v := entities.Apply(&rules.Doc{Text: d.Text}); strings.Contains(v.Text, "&amp;") || strings.Contains(v.Text, "&lt;") {
				t.Errorf("%s: %q", d.ID, v.Text)
			}
			continue
		}
		v := page.Apply(&rules.Doc{Text: d.Text})
		if !v.Keep || len(v.Text) < 50 {
			t.Errorf("%s: %v %q", d.ID, v.Keep, v.Text)
		}
		for _, m := range d.MustNot {
			if strings.Contains(v.Text, m) {
				t.Errorf("%s: %q is left", d.ID, m)
			}
		}
	}
	t.Logf("%d cases", n)
}

// TestDirtyUnicode: each variant becomes the document that it is a variant of.
func TestDirtyUnicode(t *testing.T) {
	r := decode(t, map[string]any{"rule": "unicode_normalization", "fix_character_width": true})
	texts := map[string]string{}
	n := 0
	rows := dirty(t, "unicode.jsonl")
	for _, d := range rows {
		texts[d.ID] = r.Apply(&rules.Doc{Text: d.Text}).Text
	}
	for _, d := range rows {
		if d.DupOf == "" {
			continue
		}
		n++
		if texts[d.ID] != texts[d.DupOf] {
			a, b := norm.NFC.String(texts[d.ID]), texts[d.DupOf]
			k := 0
			for k < len(a) && k < len(b) && a[k] == b[k] {
				k++
			}
			t.Errorf("%s (%s): at %d %q, %q", d.ID, d.How, k, a[k:min(len(a), k+40)], b[k:min(len(b), k+40)])
		}
	}
	t.Logf("%d cases", n)
}

// TestDirtyQuality: FineWeb's rules drop every document of low quality, and more of the good ones stay than go.
func TestDirtyQuality(t *testing.T) {
	var chain []rules.Rule
	for _, n := range []string{"gopher_repetition", "gopher_quality"} {
		chain = append(chain, decode(t, map[string]any{"rule": n}))
	}
	chain = append(chain, decode(t, map[string]any{"rule": "c4", "filter_no_terminal_punct": false, "min_num_sentences": -1}),
		decode(t, map[string]any{"rule": "fineweb_quality"}))
	bad, good, kept := 0, 0, 0
	for _, d := range dirty(t, "quality.jsonl") {
		r, v := rules.Chain(chain, &rules.Doc{Text: d.Text, Splitter: splitter(t, "en")})
		if d.is("low_quality") {
			bad++
			if r == nil {
				t.Errorf("%s (%s) is kept: %q", d.ID, d.How, v.Text[:60])
			}
			continue
		}
		good++
		if r == nil {
			kept++
		}
	}
	t.Logf("%d cases of low quality dropped; %d of %d others kept", bad, kept, good)
}

// TestDirtyContamination: every document with a question of the benchmark is found, and no other.
func TestDirtyContamination(t *testing.T) {
	rows := dirty(t, "contamination.jsonl")
	bench := filepath.Join(os.Getenv("ADAPTFLOW_DIRTY"), "..", "instruct_gsm8k", "test.jsonl")
	if _, err := os.Stat(bench); err != nil {
		t.Skip("the benchmark is not beside the dirty corpus")
	}
	r := decode(t, map[string]any{"rule": "decontamination", "n_grams": 8, "find_query_ngrams": true,
		"tasks": []any{map[string]any{"path": bench, "query": "question", "label": "answer"}}})
	n, short := 0, 0
	for _, d := range rows {
		v := r.Apply(&rules.Doc{Text: d.Text, Splitter: splitter(t, "en")})
		if d.is("contaminated") {
			n++
			if v.Keep {
				short++
				t.Errorf("%s is kept: question %q, text %q", d.ID, d.Question, d.Text)
			}
		} else if !v.Keep {
			t.Errorf("%s shares %q", d.ID, v.Value)
		}
	}
	t.Logf("%d cases, %d missed", n, short)
}
