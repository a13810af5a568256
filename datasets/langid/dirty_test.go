package langid

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// TestDirtyLanguages: the language of every document of one language is found.
func TestDirtyLanguages(t *testing.T) {
	root := os.Getenv("ADAPTFLOW_DIRTY")
	if root == "" {
		t.Skip("ADAPTFLOW_DIRTY names no folder")
	}
	b, err := os.ReadFile(filepath.Join(root, "languages.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(b, []byte("\n"))
	f, err := os.Open(filepath.Join(root, "manifest.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	keep := map[string]rules.Rule{}
	n, english := 0, 0
	for d := json.NewDecoder(z); d.More(); {
		var r struct {
			File, ID, Lang string
			Line           int
			Labels         []string
		}
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.File != "languages.jsonl" || r.Labels[0] != "language" {
			continue
		}
		var row struct{ Text string }
		if err := json.Unmarshal(lines[r.Line-1], &row); err != nil {
			t.Fatal(err)
		}
		if r.Lang != "en" && (strings.Count(row.Text, " the ") >= 2 ||
			(r.Lang == "ru" || r.Lang == "ja") && !strings.ContainsFunc(row.Text,
				func(c rune) bool { return unicode.In(c, unicode.Cyrillic, unicode.Han, unicode.Hiragana) })) {
			english++ // out of scope: an untranslated paragraph of a translated book; its label is the book's language
			continue
		}
		if keep[r.Lang] == nil {
			chain,
				err := rules.DecodeChain(fmt.Sprintf(`[{"rule": "language", "languages": [%q], "candidates": ["en", "de", "fr", "ru", "ja", "es", "it", "nl", "pt"]}]`, r.Lang),
				rules.Tools{Languages: New})
			if err != nil {
				t.Fatal(err)
			}
			keep[r.Lang] = chain[0]
		}
		n++
		for lang, rule := range keep {
			if v := rule.Apply(&rules.Doc{Text: row.Text}); v.Keep != (lang == r.Lang) {
				t.Errorf("%s, %s: kept as %s %v (%s)", r.ID, r.Lang, lang, v.Keep, v.Value)
			}
		}
	}
	t.Logf("%d cases, %d English texts under another label", n, english)
}

func TestIdentify(t *testing.T) {
	id, err := New([]string{"en", "de", "fr"}, true)
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{"en": "The weather is fine today and we go to the lake.",
		"de": "Das Wetter ist heute schön und wir gehen an den See.",
		"fr": "Il fait beau aujourd'hui et nous allons au bord du lac. host_name=server contact_groups=admins /etc/the/of/and.conf " +
			"the@of.and"} {
		if s := id.Identify(text); len(s) == 0 || s[0].Code != want {
			t.Errorf("%q: %v", text, s)
		}
	}
	if _, err := New([]string{"english", "de"}, true); err == nil {
		t.Error("a wrong code is taken")
	}
}
