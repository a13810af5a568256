package rules

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// GopherQuality is the quality filter of MassiveText (Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training
// Gopher", arXiv:2112.11446, appendix A1.1). Words of symbols alone do not count for the length of the document and of its words. A
// threshold of 0 turns its test off.
type GopherQuality struct {
	MinDocWords           int      `yaml:"min_doc_words" json:"min_doc_words" help:"words that a document must have"`
	MaxDocWords           int      `yaml:"max_doc_words" json:"max_doc_words" help:"words that a document may have"`
	MinAvgWordLength      float64  `yaml:"min_avg_word_length" json:"min_avg_word_length" help:"characters that its words must have on average"`
	MaxAvgWordLength      float64  `yaml:"max_avg_word_length" json:"max_avg_word_length" help:"characters that its words may have on average"`
	MaxSymbolWordRatio    float64  `yaml:"max_symbol_word_ratio" json:"max_symbol_word_ratio" help:"largest ratio of # to words, and of ellipses to words"`
	MaxBulletLinesRatio   float64  `yaml:"max_bullet_lines_ratio" json:"max_bullet_lines_ratio" help:"largest fraction of lines that begin with a bullet"`
	MaxEllipsisLinesRatio float64  `yaml:"max_ellipsis_lines_ratio" json:"max_ellipsis_lines_ratio" help:"largest fraction of lines that end in an ellipsis"`
	MaxNonAlphaWordsRatio float64  `yaml:"max_non_alpha_words_ratio" json:"max_non_alpha_words_ratio" help:"least fraction of words with a letter, under the reference's name"`
	MinStopWords          int      `yaml:"min_stop_words" json:"min_stop_words" help:"different stop words that a document must have"`
	StopWords             []string `yaml:"stop_words" json:"stop_words" help:"words of which min_stop_words must occur; empty for those of the language"`

	stop  map[string]int
	glued bool // stop words are parts of words: see language.glued
}

// gopherQualityTable is the paper's list.
var gopherQualityTable = GopherQuality{
	MinDocWords: 50, MaxDocWords: 100000,
	MinAvgWordLength: 3, MaxAvgWordLength: 10,
	MaxSymbolWordRatio:    0.1,
	MaxBulletLinesRatio:   0.9,
	MaxEllipsisLinesRatio: 0.3,
	MaxNonAlphaWordsRatio: 0.8,
	MinStopWords:          2,
	StopWords:             []string{"the", "be", "to", "of", "and", "that", "have", "with"},
}

// NewGopherQuality returns the rule as published.
func NewGopherQuality() *GopherQuality {
	r := gopherQualityTable
	r.StopWords = append([]string(nil), r.StopWords...)
	return &r
}

// Name is "gopher_quality".
func (*GopherQuality) Name() string { return "gopher_quality" }

// Prepare checks the settings.
func (g *GopherQuality) Prepare() error {
	if g.MaxDocWords != 0 && g.MinDocWords > g.MaxDocWords {
		return fmt.Errorf("gopher_quality: min_doc_words %d is more than max_doc_words %d", g.MinDocWords, g.MaxDocWords)
	}
	if len(g.StopWords) > 64 {
		return fmt.Errorf("gopher_quality: %d stop_words; at most 64", len(g.StopWords))
	}
	g.stop = map[string]int{}
	for i, w := range g.StopWords {
		g.stop[w] = i
	}
	return nil
}

// Apply tests length, mean word length, symbols, bullets, ellipses, words with letters and stop words, in this order.
func (g *GopherQuality) Apply(d *Doc) Verdict {
	words := d.Words()
	nonSymbol, length, alpha := measure(words)
	if g.MinDocWords != 0 && nonSymbol < g.MinDocWords {
		return drop("gopher_short_doc", float64(nonSymbol), float64(g.MinDocWords))
	}
	if g.MaxDocWords != 0 && nonSymbol > g.MaxDocWords {
		return drop("gopher_long_doc", float64(nonSymbol), float64(g.MaxDocWords))
	}
	if nonSymbol == 0 {
		return drop("empty", 0, 1)
	}
	mean := float64(length) / float64(nonSymbol)
	if g.MinAvgWordLength != 0 && mean < g.MinAvgWordLength {
		return drop("gopher_below_avg_threshold", mean, g.MinAvgWordLength)
	}
	if g.MaxAvgWordLength != 0 && mean > g.MaxAvgWordLength {
		return drop("gopher_above_avg_threshold", mean, g.MaxAvgWordLength)
	}
	n := float64(len(words))
	if g.MaxSymbolWordRatio != 0 {
		if x := float64(strings.Count(d.Text, "#")) / n; x > g.MaxSymbolWordRatio {
			return drop("gopher_too_many_hashes", x, g.MaxSymbolWordRatio)
		}
		if x := float64(strings.Count(d.Text, "...")+strings.Count(d.Text, "…")) / n; x > g.MaxSymbolWordRatio {
			return drop("gopher_too_many_ellipsis", x, g.MaxSymbolWordRatio)
		}
	}
	bullets, ellipses := listLines(d.Text)
	if g.MaxBulletLinesRatio != 0 && bullets > g.MaxBulletLinesRatio {
		return drop("gopher_too_many_bullets", bullets, g.MaxBulletLinesRatio)
	}
	if g.MaxEllipsisLinesRatio != 0 && ellipses > g.MaxEllipsisLinesRatio {
		return drop("gopher_too_many_end_ellipsis", ellipses, g.MaxEllipsisLinesRatio)
	}
	if x := float64(alpha) / n; g.MaxNonAlphaWordsRatio != 0 && x < g.MaxNonAlphaWordsRatio {
		return drop("gopher_below_alpha_threshold", x, g.MaxNonAlphaWordsRatio)
	}
	if found := g.stopWords(d.Text, words); found < g.MinStopWords {
		return drop("gopher_enough_stop_words", float64(found), float64(g.MinStopWords))
	}
	return keep(d)
}

// measure counts the words that are not all symbols, their characters, and the words with a letter.
func measure(words []string) (nonSymbol, length, alpha int) {
	for _, w := range words {
		n, sym, al := 0, true, false
		for _, r := range w {
			n++
			if r < utf8.RuneSelf {
				if c := r | 0x20; c >= 'a' && c <= 'z' {
					sym, al = false, true
				} else if sym && !symbols.has(r) {
					sym = false
				}
				continue
			}
			sym = sym && symbols.has(r)
			al = al || unicode.IsLetter(r)
		}
		if !sym {
			nonSymbol++
			length += n
		}
		if al {
			alpha++
		}
	}
	return nonSymbol, length, alpha
}

// listLines are the fractions of lines that begin with a bullet and that end in an ellipsis.
func listLines(text string) (bullets, ellipses float64) {
	lines := splitLines(text)
	for _, l := range lines {
		if s := lstrip(l); strings.HasPrefix(s, "•") || strings.HasPrefix(s, "-") {
			bullets++
		}
		if s := rstrip(l); strings.HasSuffix(s, "...") || strings.HasSuffix(s, "…") {
			ellipses++
		}
	}
	n := float64(len(lines))
	return bullets / n, ellipses / n
}

// stopWords counts the distinct stop words among words, up to as many as are wanted.
func (g *GopherQuality) stopWords(text string, words []string) (found int) {
	if g.glued {
		for _, w := range g.StopWords {
			if strings.Contains(text, w) {
				found++
			}
		}
		return found
	}
	var seen uint64
	for _, w := range words {
		if found >= g.MinStopWords {
			break
		}
		if i, ok := g.stop[w]; ok && seen>>i&1 == 0 {
			seen |= 1 << i
			found++
		}
	}
	return found
}
