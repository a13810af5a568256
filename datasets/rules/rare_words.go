package rules

import (
	"errors"
	"math"
	"regexp"

	"github.com/cespare/xxhash/v2"
)

// RareWords replaces words that a table counts less than min_count times, or does not have, by one token, as the closed vocabulary of
// WikiText does (Merity et al. 2016, section 4.3: words of less than three occurrences become "<unk>"). A word is a longest run of letters,
// compared as it is written. A model that must go on predicting the token has to see it in training.
//
// Share is the part of the documents whose words are replaced; which they are, the text of each decides.
type RareWords struct {
	FrequencyFile string  `yaml:"frequency_file" json:"frequency_file" help:"CSV with the columns word and count"`
	MinCount      float64 `yaml:"min_count" json:"min_count" help:"words that are rarer are replaced"`
	Replacement   string  `yaml:"replacement" json:"replacement" help:"what a rare word becomes"`
	Share         float64 `yaml:"share" json:"share" help:"share of the documents whose words are replaced, chosen by their text"`

	frequent map[string]bool
}

// letters is a word.
var letters = regexp.MustCompile(`\p{L}+`)

// NewRareWords returns WikiText's settings.
func NewRareWords() *RareWords { return &RareWords{MinCount: 3, Replacement: "<unk>", Share: 1} }

// Name is "rare_words".
func (*RareWords) Name() string { return "rare_words" }

// Files implements [Reader].
func (r *RareWords) Files() []string { return []string{r.FrequencyFile} }

// Move implements [Reader].
func (r *RareWords) Move(place func(string) (string, error)) error {
	return move(&r.FrequencyFile, place)
}

// Check implements [Reader].
func (r *RareWords) Check() error {
	switch {
	case !(r.MinCount >= 0):
		return errors.New("rare_words: min_count must not be negative")
	case !(r.Share >= 0 && r.Share <= 1):
		return errors.New("rare_words: share must be between 0 and 1")
	case r.Replacement == "":
		return errors.New("rare_words: replacement is empty; a word must leave something")
	}
	return nil
}

// Prepare reads the table.
func (r *RareWords) Prepare() error {
	if err := r.Check(); err != nil {
		return err
	}
	counts, err := readCounts(r.Name(), r.FrequencyFile)
	if err != nil {
		return err
	}
	r.use(counts)
	return nil
}

func (r *RareWords) use(counts map[string]float64) {
	r.frequent = make(map[string]bool, len(counts))
	for w, n := range counts {
		if n >= r.MinCount {
			r.frequent[w] = true
		}
	}
}

// Apply rewrites the text and counts the words.
func (r *RareWords) Apply(d *Doc) Verdict {
	if r.Share < 1 && float64(xxhash.Sum64String(d.Text)) >= r.Share*math.MaxUint64 {
		return keep(d)
	}
	n := 0
	text := letters.ReplaceAllStringFunc(d.Text, func(w string) string {
		if r.frequent[w] {
			return w
		}
		n++
		return r.Replacement
	})
	if n == 0 {
		return keep(d)
	}
	return Verdict{Keep: true, Text: text, Counters: []Counter{{"words", n}}}
}
