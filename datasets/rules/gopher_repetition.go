package rules

import (
	"fmt"
	"unicode/utf8"
)

// NGramLimit is the largest fraction of a document's characters that n-grams of n words may hold. In recipes it is written [n, fraction].
type NGramLimit struct {
	N        int     `yaml:"n" json:"n" help:"words of the sequence"`
	Fraction float64 `yaml:"fraction" json:"fraction" help:"largest fraction of characters in it"`
}

// GopherRepetition is the repetition filter of MassiveText (Rae et al. 2021, arXiv:2112.11446, table A1). Fractions are of the code points
// of the whole text. A threshold of 0 turns its test off.
type GopherRepetition struct {
	DupLineFrac     float64      `yaml:"dup_line_frac" json:"dup_line_frac" help:"largest fraction of repeated lines"`
	DupParaFrac     float64      `yaml:"dup_para_frac" json:"dup_para_frac" help:"largest fraction of repeated paragraphs"`
	DupLineCharFrac float64      `yaml:"dup_line_char_frac" json:"dup_line_char_frac" help:"largest fraction of characters in repeated lines"`
	DupParaCharFrac float64      `yaml:"dup_para_char_frac" json:"dup_para_char_frac" help:"largest fraction of characters in repeated paragraphs"`
	TopNGrams       []NGramLimit `yaml:"top_n_grams" json:"top_n_grams" help:"largest fraction of characters in the most frequent n-gram, by n"`
	DupNGrams       []NGramLimit `yaml:"dup_n_grams" json:"dup_n_grams" help:"largest fraction of characters in all repeated n-grams, by n"`
}

// gopherTableA1 is table A1 of the paper.
var gopherTableA1 = GopherRepetition{
	DupLineFrac: 0.30, DupParaFrac: 0.30, DupLineCharFrac: 0.20, DupParaCharFrac: 0.20,
	TopNGrams: []NGramLimit{{2, 0.20}, {3, 0.18}, {4, 0.16}},
	DupNGrams: []NGramLimit{{5, 0.15}, {6, 0.14}, {7, 0.13}, {8, 0.12}, {9, 0.11}, {10, 0.10}},
}

// NewGopherRepetition returns the rule as published.
func NewGopherRepetition() *GopherRepetition {
	r := gopherTableA1
	r.TopNGrams = append([]NGramLimit(nil), r.TopNGrams...)
	r.DupNGrams = append([]NGramLimit(nil), r.DupNGrams...)
	return &r
}

// Name is "gopher_repetition".
func (*GopherRepetition) Name() string { return "gopher_repetition" }

// Prepare checks the settings.
func (g *GopherRepetition) Prepare() error {
	for _, l := range append(append([]NGramLimit(nil), g.TopNGrams...), g.DupNGrams...) {
		if l.N < 1 {
			return fmt.Errorf("gopher_repetition: n-grams of %d words; n must be at least 1", l.N)
		}
	}
	return nil
}

// duplicates counts the elements seen before and their code points.
func duplicates(x []string) (elements, chars int) {
	if len(x) < 2 {
		return 0, 0
	}
	seen := make(map[string]struct{}, len(x))
	for _, e := range x {
		n := len(seen)
		if seen[e] = struct{}{}; len(seen) == n {
			elements++
			chars += utf8.RuneCountInString(e)
		}
	}
	return elements, chars
}

// Apply tests paragraphs, lines, the top n-grams and the repeated n-grams, in this order.
func (g *GopherRepetition) Apply(d *Doc) Verdict {
	if d.Text == "" {
		return drop("empty", 0, 1)
	}
	n := float64(utf8.RuneCountInString(d.Text))
	parts := splitNewlines(strip(d.Text), 2)
	elements, chars := duplicates(parts)
	if x := float64(elements) / float64(len(parts)); g.DupParaFrac != 0 && x > g.DupParaFrac {
		return drop("dup_para_frac", x, g.DupParaFrac)
	}
	if x := float64(chars) / n; g.DupParaCharFrac != 0 && x > g.DupParaCharFrac {
		return drop("dup_para_char_frac", x, g.DupParaCharFrac)
	}
	parts = splitNewlines(d.Text, 1)
	elements, chars = duplicates(parts)
	if x := float64(elements) / float64(len(parts)); g.DupLineFrac != 0 && x > g.DupLineFrac {
		return drop("dup_line_frac", x, g.DupLineFrac)
	}
	if x := float64(chars) / n; g.DupLineCharFrac != 0 && x > g.DupLineCharFrac {
		return drop("dup_line_char_frac", x, g.DupLineCharFrac)
	}
	words := d.Words()
	t := ngramTables.Get().(*ngramTable)
	defer ngramTables.Put(t)
	t.load(words)
	t.take(true)
	for _, l := range g.TopNGrams {
		if top, ok := t.top(len(words), l.N); ok {
			if x := float64(top) / n; x > l.Fraction {
				return drop(fmt.Sprintf("top_%d_gram", l.N), x, l.Fraction)
			}
		}
	}
	t.take(false)
	for _, l := range g.DupNGrams {
		if x := float64(t.repeated(len(words), l.N)) / n; x > l.Fraction {
			return drop(fmt.Sprintf("duplicated_%d_n_grams", l.N), x, l.Fraction)
		}
	}
	return keep(d)
}
