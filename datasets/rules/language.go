package rules

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
)

// Language keeps documents of the wanted languages, as datatrove's LanguageFilter: the likeliest language is one of them, with at least
// LanguageThreshold (Penedo et al. 2024, 3.3: 0.65). Which identifier it asks is registered: see package langid.
type Language struct {
	Languages         []string `yaml:"languages" json:"languages"`   // to keep, ISO 639-1
	Candidates        []string `yaml:"candidates" json:"candidates"` // to choose among; empty for all that the identifier knows
	LanguageThreshold float64  `yaml:"language_threshold" json:"language_threshold"`
	LowAccuracy       bool     `yaml:"low_accuracy" json:"low_accuracy"` // faster and smaller; enough for texts of 120 characters and more
	MaxChars          int      `yaml:"max_chars" json:"max_chars"`       // of a document that are looked at, from its middle; 0 for all

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

// NewIdentifier makes the identifier among languages (none: all it knows). It is nil where the program has none.
type NewIdentifier func(candidates []string, lowAccuracy bool) (Identifier, error)

var identifier struct {
	sync.Mutex
	make NewIdentifier
	made map[string]Identifier
}

// RegisterIdentifier sets the language identifier of the program.
func RegisterIdentifier(f NewIdentifier) {
	identifier.Lock()
	defer identifier.Unlock()
	identifier.make, identifier.made = f, map[string]Identifier{}
}

// NewLanguage returns the reference's threshold.
func NewLanguage() *Language {
	return &Language{LanguageThreshold: 0.65, LowAccuracy: true, MaxChars: 2000}
}

// Name is "language".
func (*Language) Name() string { return "language" }

// Prepare loads the identifier, once a process.
func (l *Language) Prepare() error {
	if len(l.Languages) == 0 {
		return errors.New("language: languages names none; write the codes of the languages to keep, such as [en]")
	}
	if !(l.LanguageThreshold >= 0 && l.LanguageThreshold <= 1) {
		return fmt.Errorf("language: language_threshold is %g; it is from 0 to 1", l.LanguageThreshold)
	}
	candidates := slices.Clone(l.Candidates)
	if len(candidates) > 0 {
		for _, c := range l.Languages {
			if !slices.Contains(candidates, c) {
				candidates = append(candidates, c)
			}
		}
		sort.Strings(candidates)
	}
	identifier.Lock()
	defer identifier.Unlock()
	if identifier.make == nil {
		return errors.New("language: this program has no language identifier; import github.com/adaptflow/adaptflow/datasets/langid")
	}
	key := fmt.Sprint(candidates, l.LowAccuracy)
	if identifier.made[key] == nil {
		id, err := identifier.make(candidates, l.LowAccuracy)
		if err != nil {
			return fmt.Errorf("language: %w", err)
		}
		identifier.made[key] = id
	}
	l.id = identifier.made[key]
	return nil
}

// Apply identifies the language of the middle of the document.
func (l *Language) Apply(d *Doc) Verdict {
	text := d.Text
	if l.MaxChars > 0 && len(text) > 4*l.MaxChars {
		r := []rune(text)
		if n := len(r); n > l.MaxChars {
			text = string(r[(n-l.MaxChars)/2 : (n+l.MaxChars)/2])
		}
	}
	scores := l.id.Identify(text)
	if len(scores) == 0 {
		return Verdict{Reason: "unknown_language", Value: "none", Threshold: strings.Join(l.Languages, ", ")}
	}
	best := scores[0]
	if !slices.Contains(l.Languages, best.Code) {
		return Verdict{Reason: "language", Value: fmt.Sprintf("%s %.3f", best.Code, best.Score), Threshold: strings.Join(l.Languages, ", ")}
	}
	if best.Score < l.LanguageThreshold {
		return Verdict{Reason: "language_score", Value: fmt.Sprintf("%s %.3f", best.Code, best.Score), Threshold: number(l.LanguageThreshold)}
	}
	return keep(d)
}
