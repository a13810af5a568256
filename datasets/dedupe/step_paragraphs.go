package dedupe

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// The parts of [Paragraphs].
const (
	SplitLine      = "line"
	SplitParagraph = "paragraph" // between blank lines
)

// Paragraphs takes out paragraphs or lines that the corpus had before (CCNet: Wenzek et al. 2020, "CCNet: Extracting High Quality
// Monolingual Datasets from Web Crawl Data", section 3.1): menus, notices, boilerplate.
type Paragraphs struct {
	Split     string `yaml:"split" json:"split" help:"what is compared: paragraph or line"`
	MinChars  int    `yaml:"min_chars" json:"min_chars" help:"code points below which a part stays"`
	Normalize bool   `yaml:"normalize" json:"normalize" help:"parts are compared without case, marks, accents and numbers, as CCNet does"`
	// MinDocWords drops a document that has fewer words left; 0 drops one with nothing left.
	MinDocWords int        `yaml:"min_doc_words" json:"min_doc_words" help:"words that must be left of a changed document"`
	HashConfig  HashConfig `yaml:"hash_config" json:"hash_config" help:"the hash function"`
	IndexConfig
}

// NewParagraphs returns the defaults.
func NewParagraphs() *Paragraphs {
	return &Paragraphs{Split: SplitParagraph, MinChars: 20, Normalize: true, HashConfig: HashConfig{XXHash}}
}

// Name is "paragraphs".
func (*Paragraphs) Name() string { return "paragraphs" }

// Prepare checks the settings.
func (p *Paragraphs) Prepare() error {
	if p.Split != SplitLine && p.Split != SplitParagraph {
		return fmt.Errorf("paragraphs: split %q is unknown; it is line or paragraph", p.Split)
	}
	if err := p.IndexConfig.validate("paragraphs"); err != nil {
		return err
	}
	return p.HashConfig.Validate()
}

// Layout is one section of 64-bit hashes.
func (*Paragraphs) Layout() (int, int, bool) { return 1, 8, false }

func (p *Paragraphs) sep() string {
	if p.Split == SplitLine {
		return "\n"
	}
	return "\n\n"
}

// Sign hashes the parts.
func (p *Paragraphs) Sign(sections [][]byte, id ID, text string, _ rules.Splitter) {
	for i, part := range strings.Split(text, p.sep()) {
		if part = strings.TrimSpace(part); utf8.RuneCountInString(part) < max(1, p.MinChars) {
			continue
		}
		if p.Normalize {
			part = rules.Simplify(part)
		}
		sections[0] = appendHashed(sections[0], p.HashConfig.SumString(part), id, uint32(i))
	}
}

// Remove takes the parts out.
func (p *Paragraphs) Remove(text string, parts []uint32, s rules.Splitter) rules.Verdict {
	left := strings.TrimSpace(RemoveParts(strings.Split(text, p.sep()), parts, p.sep()))
	if left == "" {
		return rules.Verdict{Reason: "nothing_left", Value: "0", Threshold: "1"}
	}
	if p.MinDocWords > 0 {
		if n := len(s.Words(left)); n < p.MinDocWords {
			return rules.Verdict{Reason: "too_few_words", Value: strconv.Itoa(n), Threshold: strconv.Itoa(p.MinDocWords)}
		}
	}
	return rules.Verdict{Keep: true, Text: left, Counters: []rules.Counter{{Name: "removed_parts", N: len(parts)}}}
}
