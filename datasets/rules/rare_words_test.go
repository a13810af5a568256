package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRareWords replaces what a table does not count often enough, and nothing else of the text.
func TestRareWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "words.csv")
	if err := os.WriteFile(file, []byte("word,count\nthe,100\nThe,40\nof,90\ncat,3\ntown,2\nin,50\n1990,9\nnaïve,7\ns,8\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		set      func(*RareWords)
		in, want string
		words    int
	}{
		{"three by default", func(*RareWords) {}, "The cat of Dorset, in the town", "The cat of <unk>, in the <unk>", 2},
		{"a lower bound", func(r *RareWords) { r.MinCount = 2 }, "The cat of Dorset, in the town", "The cat of <unk>, in the town", 1},
		{"as it is written", func(*RareWords) {}, "THE of\tCat", "<unk> of\t<unk>", 2},
		{"parts of words by their letters", func(*RareWords) {}, "cat-of-1990's naïve—zebra7", "cat-of-1990's naïve—<unk>7", 1},
		{"another token", func(r *RareWords) { r.Replacement = "_" }, "Dorset\n\n(Dorset)", "_\n\n(_)", 2},
		{"nothing rare", func(*RareWords) {}, "  the cat  ", "  the cat  ", 0},
		{"no share", func(r *RareWords) { r.Share = 0 }, "Dorset", "Dorset", 0},
	} {
		r := NewRareWords()
		r.FrequencyFile = file
		c.set(r)
		if err := r.Prepare(); err != nil {
			t.Fatal(err)
		}
		v := r.Apply(&Doc{Text: c.in})
		n := 0
		for _, k := range v.Counters {
			n += k.N
		}
		if !v.Keep || v.Text != c.want || n != c.words {
			t.Errorf("%s: %q (%d words), want %q (%d)", c.name, v.Text, n, c.want, c.words)
		}
	}
	r := NewRareWords()
	r.FrequencyFile, r.Share = file, 0.25
	if err := r.Prepare(); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for i := range 4000 {
		text := fmt.Sprintf("Dorset %d", i)
		if r.Apply(&Doc{Text: text}).Text != text {
			changed++
		}
	}
	if changed < 900 || changed > 1100 {
		t.Errorf("%d of 4000 documents are changed, want about a quarter", changed)
	}
}

// TestRareWordsSettings refuses what cannot work.
func TestRareWordsSettings(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.csv")
	if err := os.WriteFile(bad, []byte("word,count\nthe,many\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		set  func(*RareWords)
		want string
	}{
		{func(*RareWords) {}, "frequency_file names no file"},
		{func(r *RareWords) { r.FrequencyFile = bad }, `the count of "the" is "many"`},
		{func(r *RareWords) { r.FrequencyFile = bad + "x" }, "bad.csvx"},
		{func(r *RareWords) { r.Share = 2 }, "share must be between 0 and 1"},
		{func(r *RareWords) { r.MinCount = -1 }, "min_count must not be negative"},
		{func(r *RareWords) { r.Replacement = "" }, "replacement is empty"},
	} {
		r := NewRareWords()
		c.set(r)
		if err := r.Prepare(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
