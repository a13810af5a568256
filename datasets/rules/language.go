package rules

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode"
)

// Language keeps documents of the wanted languages, as datatrove's LanguageFilter: the likeliest language is one of them, with at least
// LanguageThreshold (Penedo et al. 2024, 3.3: 0.65). Which identifier it asks comes by Use: see package langid.
type Language struct {
	Languages         []string `yaml:"languages" json:"languages" help:"languages to keep, by ISO 639-1"`
	Candidates        []string `yaml:"candidates" json:"candidates" help:"languages to choose among; empty for all that the identifier knows"`
	LanguageThreshold float64  `yaml:"language_threshold" json:"language_threshold" help:"least confidence in the language"`
	LowAccuracy       bool     `yaml:"low_accuracy" json:"low_accuracy" help:"a faster and smaller identifier; enough for texts of 120 characters and more"`
	ShortChars        int      `yaml:"short_chars" json:"short_chars" help:"letters up to which a text is too short to be sure: it is kept unless the languages to keep are next to impossible"`
	MaxChars          int      `yaml:"max_chars" json:"max_chars" help:"characters of a document that are looked at, from its middle; 0 for all"`

	id Identifier
}

// Identifier says how likely a text is in each language.
type Identifier interface {
	// Identify returns languages by ISO 639-1 code with their probabilities, the likeliest first.
	Identify(text string) []LanguageScore
}

// LanguageScore is a language and its probability.
type LanguageScore struct {
	Code  string
	Score float64
}

// NewIdentifier makes the identifier among languages by their codes (none: all it knows). langid.New is one.
type NewIdentifier func(candidates []string, lowAccuracy bool) (Identifier, error)

// languageCodes are those of the languages that can be told apart, by ISO 639-1.
var languageCodes = strings.Fields("af ar az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gu he hi hr hu hy id is it ja ka " +
	"kk ko la lg lt lv mi mk mn " +
	"mr ms nb nl nn pa pl pt ro ru sk sl sn so sq sr st sv sw ta te th tl tn tr ts uk ur vi xh yo zh zu")

// NewLanguage returns the reference's threshold.
func NewLanguage() *Language {
	return &Language{LanguageThreshold: 0.65, LowAccuracy: true, ShortChars: 120, MaxChars: 2000}
}

// Name is "language".
func (*Language) Name() string { return "language" }

// Prepare checks the settings. The identifier comes by [Language.Use].
func (l *Language) Prepare() error {
	if len(l.Languages) == 0 {
		return errors.New("language: languages names none; write the codes of the languages to keep, such as [en]")
	}
	if !(l.LanguageThreshold >= 0 && l.LanguageThreshold <= 1) {
		return fmt.Errorf("language: language_threshold is %g; it is from 0 to 1", l.LanguageThreshold)
	}
	candidates := l.candidates()
	for _, c := range candidates {
		if !slices.Contains(languageCodes, strings.ToLower(c)) {
			return fmt.Errorf("language: language %q is not among those that are known; codes are of ISO 639-1, such as en", c)
		}
	}
	if len(candidates) == 1 {
		return errors.New("language: candidates has 1 languages; at least two are needed to choose among")
	}
	return nil
}

// candidates are those of the settings with the languages to keep, in order; none for all.
func (l *Language) candidates() []string {
	if len(l.Candidates) == 0 {
		return nil
	}
	out := slices.Concat(l.Candidates, l.Languages)
	sort.Strings(out)
	return slices.Compact(out)
}

// Use makes the identifier that Apply asks.
func (l *Language) Use(tools Tools) (err error) {
	if tools.Languages == nil {
		return errors.New("language: the rule is given no language identifier (rules.Tools.Languages)")
	}
	if l.id, err = tools.Languages(l.candidates(), l.LowAccuracy); err != nil {
		return fmt.Errorf("language: %w", err)
	}
	return nil
}

// Apply identifies the language of the middle of the document, after Use.
func (l *Language) Apply(d *Doc) Verdict {
	text := d.Text
	if l.MaxChars > 0 && len(text) > 4*l.MaxChars {
		r := []rune(text)
		if n := len(r); n > l.MaxChars {
			text = string(r[(n-l.MaxChars)/2 : (n+l.MaxChars)/2])
		}
	}
	scores := l.id.Identify(text)
	if l.ShortChars > 0 && lettersUpTo(text, l.ShortChars) <= l.ShortChars {
		return l.short(d, text, scores)
	}
	if len(scores) == 0 {
		return Verdict{Reason: "unknown_language", Value: "none", Threshold: strings.Join(l.Languages, ", ")}
	}
	best := scores[0]
	if !slices.Contains(l.Languages, best.Code) {
		return Verdict{Reason: "language", Value: fmt.Sprintf("%s %.3f", best.Code, best.Score), Threshold: strings.Join(l.Languages, ", ")}
	}
	if best.Score < l.LanguageThreshold {
		return Verdict{Reason: "language_score", Value: fmt.Sprintf("%s %.3f", best.Code, best.Score),
			Threshold: number(l.LanguageThreshold)}
	}
	return keep(d)
}

// Of a short text: the letters up to which its script alone says something, and the probability below which a longer one is in none of the
// languages to keep.
const (
	tinyChars  = 35
	impossible = 0.01
)

// short judges a text of a few words, of which an identifier knows little: the rule abstains, and the text is kept, unless no letter is of
// the scripts of the languages to keep, or these are next to impossible in a text of a sentence.
func (l *Language) short(d *Doc, text string, scores []LanguageScore) Verdict {
	if len(scores) == 0 || lettersUpTo(text, 0) == 0 {
		return keep(d)
	}
	wanted := 0.0
	for _, s := range scores {
		if slices.Contains(l.Languages, s.Code) {
			wanted += s.Score
		}
	}
	other := wanted < impossible
	if lettersUpTo(text, tinyChars) <= tinyChars {
		other = !l.writes(text)
	}
	if best := scores[0]; other {
		return Verdict{Reason: "language", Value: fmt.Sprintf("%s %.3f", best.Code, best.Score), Threshold: strings.Join(l.Languages, ", ")}
	}
	return keep(d)
}

// writes says whether a letter of the text may be of one of the languages to keep, or one of these is of a script that is not known.
func (l *Language) writes(text string) bool {
	for _, code := range l.Languages {
		known := languageOf(code)
		if known == nil {
			return true
		}
		for i := range scripts {
			same := scripts[i].name == known.script || known.script == "Japanese" && scripts[i].name == "Han"
			if same && strings.ContainsFunc(text, func(r rune) bool { return unicode.In(r, scripts[i].ranges...) }) {
				return true
			}
		}
	}
	return false
}

// lettersUpTo counts the letters of a text up to one more than a bound.
func lettersUpTo(text string, most int) (n int) {
	for _, r := range text {
		if unicode.IsLetter(r) {
			if n++; n > most {
				break
			}
		}
	}
	return n
}
