package rules

import (
	"fmt"
	"slices"
	"strings"
)

// Profile is a list of rules for a kind of text, by the language of each document: thresholds and stop words are those of the language
// that it is written in, its words are cut as that language's, and where it has no spaces they are characters. A chain of a recipe has the
// profile's rules in its place, so that dead letters and counters name these: see [Profile.Rules].
type Profile struct {
	Language string   `yaml:"language" json:"language" help:"language whose thresholds and stop words hold, by ISO 639-1, xx for one that the table does not have; empty to see it document by document"`
	Without  []string `yaml:"without" json:"without" help:"rules of the profile that are left out"`

	row   *profileRow
	words func(string) (Splitter, error)
	chain []Rule
}

// profileRow is a row of the table of profiles.
type profileRow struct {
	name string
	// before and after change texts, whatever their language is; by are the rules that judge a text of a language, the same ones of each.
	before, after func() []Rule
	by            func(l *language) []Rule
}

// profiles is the table. What no number is given for is the rule's own.
var profiles = []profileRow{
	{"web", repairs(true), masks, func(l *language) []Rule {
		f := NewFineWebQuality()
		// FineWeb-2 has no test of short lines, and ten times FineWeb's share of repeated lines.
		f.LinePunctThr, f.NewLineRatio, f.ShortLineThr, f.CharDuplicatesRatio = l.punct, l.newline, 1, 0.1
		return []Rule{l.repetition(1), f, l.quality(50, 1)}
	}},
	{"docs", repairs(true), none, func(l *language) []Rule {
		// Lists of options, synopses and tables repeat themselves and have few letters; lines end where they end.
		q := l.quality(20, 0.6)
		q.MaxBulletLinesRatio, q.MaxEllipsisLinesRatio, q.MaxSymbolWordRatio = 0, 0, 0.3
		return []Rule{l.repetition(2), q}
	}},
	{"books", repairs(false), none, func(l *language) []Rule {
		r := l.repetition(1.25)
		r.DupParaFrac, r.DupParaCharFrac = 0.3, 0.2
		q := l.quality(50, 0.9)
		q.MaxDocWords = 0
		return []Rule{r, q}
	}},
	{"chat", repairs(false), none, func(l *language) []Rule {
		// A turn may be a word: what is dropped says nothing, or the same again and again.
		r := l.repetition(2.5)
		q := l.quality(2, 0.4)
		q.MinStopWords, q.StopWords = 0, nil
		q.MaxBulletLinesRatio, q.MaxEllipsisLinesRatio, q.MaxSymbolWordRatio = 0, 0, 0.5
		return []Rule{r, q}
	}},
	{"code", none, none, func(*language) []Rule {
		r := NewGopherRepetition()
		r.DupLineFrac, r.DupParaFrac, r.DupLineCharFrac, r.DupParaCharFrac = 0.7, 0.5, 0.6, 0.5
		r.TopNGrams, r.DupNGrams = nil, []NGramLimit{{10, 0.6}}
		return []Rule{NewCodeQuality(), r}
	}},
}

func none() []Rule { return nil }

// masks takes personal data out, as FineWeb-2's last step.
func masks() []Rule { return []Rule{NewPII()} }

// repairs takes the text out of pages, and repairs encodings and forms of characters.
func repairs(pages bool) func() []Rule {
	return func() []Rule {
		out := []Rule{NewFTFY(), NewUnicodeNormalization()}
		if pages {
			out = append([]Rule{NewHTMLText()}, out...)
		}
		return out
	}
}

// repetition is the language's test of repetition; with a slack above 1 more is allowed.
func (l *language) repetition(slack float64) *GopherRepetition {
	r := &GopherRepetition{DupLineFrac: min(l.dupLine*slack, 0.9)}
	for i, x := range l.top {
		r.TopNGrams = append(r.TopNGrams, NGramLimit{i + 2, min(x*slack, 0.9)})
	}
	for i, x := range l.dup {
		r.DupNGrams = append(r.DupNGrams, NGramLimit{i + 5, min(x*slack, 0.9)})
	}
	return r
}

// quality is the language's test of words, of which a document must have at least so many; letters is the share of FineWeb-2's bound on
// words with a letter that is wanted.
func (l *language) quality(least int, letters float64) *GopherQuality {
	q := NewGopherQuality()
	q.MinDocWords, q.MaxNonAlphaWordsRatio, q.StopWords, q.glued = least, l.alpha*letters, l.stopWords(), l.glued()
	q.MinAvgWordLength, q.MaxAvgWordLength = l.mean[0]*letters, l.mean[1]/letters
	if l.unspaced() {
		q.MinAvgWordLength, q.MaxAvgWordLength = 0, 0
	}
	if l.stop == "" {
		q.MinStopWords = 0
	}
	return q
}

// NewProfile returns the profile of a name of the table; an unknown one is a fault of the program.
func NewProfile(name string) *Profile {
	i := slices.IndexFunc(profiles, func(p profileRow) bool { return p.name == name })
	if i < 0 {
		panic(fmt.Sprintf("rules: there is no profile %s", name))
	}
	return &Profile{row: &profiles[i]}
}

// Profiles are the names of the profiles.
func Profiles() (out []string) {
	for _, p := range profiles {
		out = append(out, p.name)
	}
	return out
}

// Name is the profile's.
func (p *Profile) Name() string { return p.row.name }

// Prepare makes the rules.
func (p *Profile) Prepare() error {
	if p.Language != "" && languageOf(p.Language) == nil {
		var known []string
		for i := range languages {
			known = append(known, languages[i].code)
		}
		return fmt.Errorf("%s: language %q has no thresholds; those that have are %s, and xx is for any other", p.row.name, p.Language,
			strings.Join(known, ", "))
	}
	p.chain = p.row.before()
	for i, r := range p.row.by(&languages[0]) {
		b := &byLanguage{name: r.Name(), profile: p, rules: map[string]Rule{}}
		for k := range languages {
			b.rules[languages[k].code] = p.row.by(&languages[k])[i]
		}
		p.chain = append(p.chain, b)
	}
	p.chain = append(p.chain, p.row.after()...)
	var names []string
	for _, r := range p.chain {
		names = append(names, r.Name())
	}
	for _, w := range p.Without {
		if !slices.Contains(names, w) {
			return fmt.Errorf("%s: without names %q; its rules are %s", p.row.name, w, strings.Join(names, ", "))
		}
	}
	p.chain = slices.DeleteFunc(p.chain, func(r Rule) bool { return slices.Contains(p.Without, r.Name()) })
	for _, r := range p.chain {
		if err := r.Prepare(); err != nil {
			return fmt.Errorf("%s: %w", p.row.name, err)
		}
	}
	return nil
}

// Use takes the splitters of languages.
func (p *Profile) Use(tools Tools) error {
	p.words = tools.Words
	return nil
}

// Rules are the profile's, in order, which a chain has in its place. They are made by Prepare.
func (p *Profile) Rules() []Rule { return p.chain }

// Apply goes through the rules, as [Chain] does.
func (p *Profile) Apply(d *Doc) Verdict {
	own := *d
	_, v := Chain(p.chain, &own)
	return v
}

// byLanguage is a rule of a profile with the settings of each language.
type byLanguage struct {
	name    string
	profile *Profile
	rules   map[string]Rule // by code
}

// Name is the rule's.
func (b *byLanguage) Name() string { return b.name }

// Prepare prepares the rule of each language.
func (b *byLanguage) Prepare() error {
	for i := range languages {
		if err := b.rules[languages[i].code].Prepare(); err != nil {
			return err
		}
	}
	return nil
}

// Apply judges the document by the rule of its language.
func (b *byLanguage) Apply(d *Doc) Verdict {
	code := b.profile.Language
	if code == "" {
		code = d.language().code
	}
	return b.rules[code].Apply(d.as(code, b.profile.words))
}
