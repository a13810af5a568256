package rules

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// C4Paragraph is the paragraph filter of mC4 (Xue et al. 2021, "mT5: A Massively Multilingual Pre-trained Text-to-Text Transformer",
// section 3.1): a document needs some lines of some length.
type C4Paragraph struct {
	MinParagraphs   int `yaml:"min_paragraphs" json:"min_paragraphs" help:"long paragraphs that a document must have"`
	MinParagraphLen int `yaml:"min_paragraph_len" json:"min_paragraph_len" help:"code points of a long paragraph"`
}

// mC4Table holds the numbers of section 3.1 of the paper.
var mC4Table = C4Paragraph{MinParagraphs: 3, MinParagraphLen: 200}

// NewC4Paragraph returns the rule as published.
func NewC4Paragraph() *C4Paragraph { r := mC4Table; return &r }

// Name is "c4_paragraph".
func (*C4Paragraph) Name() string { return "c4_paragraph" }

// Prepare checks the settings.
func (c *C4Paragraph) Prepare() error {
	if c.MinParagraphs < 1 {
		return fmt.Errorf("c4_paragraph: min_paragraphs is %d; it must be at least 1", c.MinParagraphs)
	}
	return nil
}

// Apply counts the lines that are long enough.
func (c *C4Paragraph) Apply(d *Doc) Verdict {
	n := 0
	for l := range strings.SplitSeq(d.Text, "\n") {
		if utf8.RuneCountInString(l) >= c.MinParagraphLen {
			if n++; n >= c.MinParagraphs {
				return keep(d)
			}
		}
	}
	return drop(fmt.Sprintf("< %d paragraphs", c.MinParagraphs), float64(n), float64(c.MinParagraphs))
}
