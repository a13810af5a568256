package datasets

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhere: rows are kept by their own fields, whatever format they stand in, and a dead letter names the test that a row fails.
func TestWhere(t *testing.T) {
	dir := t.TempDir()
	jsonl, csv := filepath.Join(dir, "a.jsonl"), filepath.Join(dir, "a.csv")
	rows := []string{`{"text": "one", "score": 0.9, "lang": "en", "meta": {"stars": 3}}`, `{"text": "two", "score": 0.1, "lang": "en"}`,
		`{"text": "three", "lang": "de"}`, `{"text": "four", "score": "0.7", "lang": "fr", "meta": {"stars": null}}`}
	if err := os.WriteFile(jsonl, []byte(strings.Join(rows, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(csv, []byte("text,score,lang\none,0.9,en\ntwo,0.1,en\nthree,,de\nfour,0.7,fr\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file    string
		test    string
		missing bool
		want    string
	}{
		{jsonl, "score >= 0.5", false, "one four"}, {jsonl, "score >= 0.5", true, "one three four"}, {jsonl, "score<0.5", false, "two"},
		{jsonl, "lang in [en, fr]", false, "one two four"}, {jsonl, `lang not in ["en"]`, false, "three four"},
		{jsonl, "meta.stars > 2", false, "one"}, {jsonl, "lang == en", false, "one two"}, {jsonl, `"lang" != "en"`, false, "three four"},
		{csv, "score > 0.5", false, "one four"}, {csv, "score == 0.90", false, "one"}, {csv, "lang == de", false, "three"},
	} {
		r, err := Open(c.file, "src", Options{Where: []Where{{Rule: "field", Reason: "mine", Tests: []string{c.test}, Missing: c.missing}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			rec, rej, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			switch {
			case err != nil:
				t.Fatal(err)
			case rej != nil && (rej.Rule != "field" || rej.Reason != "mine" || rej.Threshold != c.test || rej.Value == ""):
				t.Errorf("%s: %+v", c.test, rej)
			case rej == nil:
				got = append(got, rec.Text)
			}
		}
		r.Close()
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s of %s keeps %v, want %s", c.test, filepath.Base(c.file), got, c.want)
		}
	}
	for text, want := range map[string]string{"score": "FIELD OPERATOR VALUE", "score >= many": "compares numbers",
		"lang in en": "wants a list",
		"a..b == 1":  "empty name", "": "FIELD OPERATOR VALUE"} {
		if _, err := ParseFieldTest(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
