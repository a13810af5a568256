package rules

import (
	"path/filepath"
	"testing"
)

// TestGoldenSimplify compares normalised texts with datatrove's.
func TestGoldenSimplify(t *testing.T) {
	dir := datatrove(t)
	words := map[string]goldenWords{}
	for _, w := range jsonLines[goldenWords](t, filepath.Join(dir, "words.jsonl.gz")) {
		words[w.ID] = w
	}
	c := newTally(t)
	defer c.print()
	for _, d := range jsonLines[goldenDoc](t, filepath.Join(dir, "docs.jsonl.gz")) {
		w, got := words[d.ID], Simplify(d.Text)
		want := ""
		if w.Simp != nil {
			want = *w.Simp
		}
		c.check("simplify", d.ID, sha16(got) == w.SimpSha, got[:min(len(got), 600)], want)
	}
}

func TestSimplify(t *testing.T) {
	for _, x := range [][2]string{
		{"1,234,567.89", "0 0"}, {"٣٫١٤", "0"}, {"2020-01-02", "0 0 0"}, {"ΟΔΟΣ", "οδος"}, {"İstanbul", "istanbul"}, {"Café", "cafe"},
		{"don't CANNOT", "don t cannot"}, {"x² ½", "x² ½"}, {"ガ", "カ"}, {"a≠b", "a=b"}, {" \t\u2028", ""}, {"5kg 10am U.S.", "0kg 0am u s"},
	} {
		if got := Simplify(x[0]); got != x[1] {
			t.Errorf("%q: %q, want %q", x[0], got, x[1])
		}
	}
}
