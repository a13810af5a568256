package rules

import (
	"fmt"
	"unicode/utf8"
)

// Length bounds documents in code points and in words; 0 means no bound.
type Length struct {
	MinChars int `yaml:"min_chars" json:"min_chars" help:"code points that a document must have"`
	MaxChars int `yaml:"max_chars" json:"max_chars" help:"code points that a document may have; 0 for no bound"`
	MinWords int `yaml:"min_words" json:"min_words" help:"words that a document must have"`
	MaxWords int `yaml:"max_words" json:"max_words" help:"words that a document may have; 0 for no bound"`
}

// NewLength returns no bounds.
func NewLength() *Length { return &Length{} }

// Name is "length".
func (*Length) Name() string { return "length" }

// Prepare checks the bounds.
func (l *Length) Prepare() error {
	if l.MaxChars != 0 && l.MinChars > l.MaxChars || l.MaxWords != 0 && l.MinWords > l.MaxWords {
		return fmt.Errorf("length: a least value is more than the greatest")
	}
	if l.MinChars+l.MaxChars+l.MinWords+l.MaxWords == 0 {
		return fmt.Errorf("length: no bound is set; its keys are min_chars, max_chars, min_words, max_words")
	}
	return nil
}

// Apply counts.
func (l *Length) Apply(d *Doc) Verdict {
	if l.MinChars+l.MaxChars > 0 {
		n := utf8.RuneCountInString(d.Text)
		if n < l.MinChars {
			return drop("too_few_chars", float64(n), float64(l.MinChars))
		}
		if l.MaxChars > 0 && n > l.MaxChars {
			return drop("too_many_chars", float64(n), float64(l.MaxChars))
		}
	}
	if l.MinWords+l.MaxWords > 0 {
		n := len(d.Words())
		if n < l.MinWords {
			return drop("too_few_words", float64(n), float64(l.MinWords))
		}
		if l.MaxWords > 0 && n > l.MaxWords {
			return drop("too_many_words", float64(n), float64(l.MaxWords))
		}
	}
	return keep(d)
}
