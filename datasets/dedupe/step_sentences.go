package dedupe

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// Sentences takes out spans of sentences that the corpus had before (Raffel et al. 2020, section 2.2: any three-sentence span but its first
// occurrence), with datatrove's arithmetic.
type Sentences struct {
	NSentences     int        `yaml:"n_sentences" json:"n_sentences" help:"sentences of a sequence that is compared"`
	SplitSentences bool       `yaml:"split_sentences" json:"split_sentences" help:"sentences are compared; false: lines"`
	MinDocWords    int        `yaml:"min_doc_words" json:"min_doc_words" help:"words that must be left of a changed document"`
	MinSentences   int        `yaml:"min_num_sentences" json:"min_num_sentences" help:"sentences that must be left of a changed document"`
	HashConfig     HashConfig `yaml:"hash_config" json:"hash_config" help:"the hash function"`
	IndexConfig
}

// NewSentences returns the defaults of datatrove's SentDedupConfig.
func NewSentences() *Sentences {
	return &Sentences{NSentences: 3, SplitSentences: true, MinDocWords: 50, MinSentences: 3, HashConfig: HashConfig{XXHash}}
}

// Name is "sentences".
func (*Sentences) Name() string { return "sentences" }

// Prepare checks the settings.
func (c *Sentences) Prepare() error {
	if c.NSentences < 1 {
		return fmt.Errorf("sentences: n_sentences is %d; it must be at least 1", c.NSentences)
	}
	if err := c.IndexConfig.validate("sentences"); err != nil {
		return err
	}
	return c.HashConfig.Validate()
}

// Layout is one section of 64-bit hashes.
func (*Sentences) Layout() (int, int, bool) { return 1, 8, false }

// parts cuts the text: each sentence begins where the one before it ends, white space included; or into lines.
func (c *Sentences) parts(text string, s rules.Splitter) []string {
	if !c.SplitSentences {
		return rules.Lines(text)
	}
	var out []string
	at := 0
	for _, sp := range s.Sentences(text) {
		out = append(out, text[at:sp.End])
		at = sp.End
	}
	return out
}

// Sign hashes each run of sentences, simplified and joined by spaces, unless nothing is left of it.
func (c *Sentences) Sign(sections [][]byte, id ID, text string, s rules.Splitter) {
	var simple []string
	for _, p := range c.parts(text, s) {
		if c.SplitSentences && strings.TrimFunc(p, unicode.IsSpace) == "" {
			continue // only white space at the end of the text is such a sentence, so that the numbers of the others stay
		}
		simple = append(simple, rules.Simplify(p))
	}
	for i := 0; i+c.NSentences <= len(simple); i++ {
		span := strings.Join(simple[i:i+c.NSentences], " ")
		if strings.TrimSpace(span) != "" {
			sections[0] = appendHashed(sections[0], c.HashConfig.SumString(span), id, uint32(i))
		}
	}
}

// Remove takes out the spans that begin at the given sentences.
func (c *Sentences) Remove(text string, starts []uint32, s rules.Splitter) rules.Verdict {
	parts := c.parts(text, s)
	var kept []string
	until, at := 0, 0
	for i, p := range parts {
		if at < len(starts) && int(starts[at]) == i {
			until = i + c.NSentences
			at++
		}
		if i >= until {
			kept = append(kept, p)
		}
	}
	sep := ""
	if !c.SplitSentences {
		sep = "\n"
	}
	left := strings.TrimLeftFunc(strings.Join(kept, sep), unicode.IsSpace)
	if n := len(s.Words(left)); n < c.MinDocWords {
		return rules.Verdict{Reason: "too_few_words", Value: strconv.Itoa(n), Threshold: strconv.Itoa(c.MinDocWords)}
	}
	if n := len(s.Sentences(left)); n < c.MinSentences {
		return rules.Verdict{Reason: "too_few_sentences", Value: strconv.Itoa(n), Threshold: strconv.Itoa(c.MinSentences)}
	}
	if strings.TrimSpace(left) == "" {
		return rules.Verdict{Reason: "nothing_left", Value: "0", Threshold: "1"}
	}
	return rules.Verdict{Keep: true, Text: left, Counters: []rules.Counter{{Name: "removed_sentences", N: len(parts) - len(kept)}}}
}
