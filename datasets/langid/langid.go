// Package langid identifies languages with lingua (n-gram models of 75 languages, embedded: they add some 120 MB to a program). New
// is given to the rule "language" (rules.Tools); it stands apart so that programs and tests which apply no such rule stay small.
package langid

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/pemistahl/lingua-go"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

type detector struct{ d lingua.LanguageDetector }

// New makes an identifier among languages by their ISO 639-1 codes; none are all that lingua knows. Models are loaded when first needed and
// shared; in low accuracy those of trigrams alone, a few MB a language.
func New(candidates []string, lowAccuracy bool) (rules.Identifier, error) {
	var b lingua.LanguageDetectorBuilder
	if len(candidates) == 0 {
		b = lingua.NewLanguageDetectorBuilder().FromAllLanguages()
	} else {
		var codes []lingua.IsoCode639_1
		for _, c := range candidates {
			code := lingua.GetIsoCode639_1FromValue(strings.ToUpper(c))
			if code == lingua.UnknownIsoCode639_1 {
				return nil, fmt.Errorf("language %q is not among those that are known; codes are of ISO 639-1, such as en", c)
			}
			codes = append(codes, code)
		}
		if len(codes) < 2 {
			return nil, fmt.Errorf("candidates has %d languages; at least two are needed to choose among", len(codes))
		}
		b = lingua.NewLanguageDetectorBuilder().FromIsoCodes639_1(codes...)
	}
	if lowAccuracy {
		b = b.WithLowAccuracyMode()
	}
	return &detector{b.Build()}, nil
}

// Identify implements rules.Identifier. Words of no language (addresses, paths, options, names of variables) are left out when others
// remain: configuration and logs are full of them, and a few lines of either would outvote the prose around them.
func (d *detector) Identify(text string) []rules.LanguageScore {
	if prose := words(text); prose != "" {
		text = prose
	}
	var out []rules.LanguageScore
	for _, c := range d.d.ComputeLanguageConfidenceValues(text) {
		if c.Value() > 0 {
			out = append(out, rules.LanguageScore{Code: strings.ToLower(c.Language().IsoCode639_1().String()), Score: c.Value()})
		}
	}
	return out
}

// words are the words of text, joined by spaces, without those of ASCII that have a digit or one of _@=/\<>{}|$#~ in them. Others stay
// whole: scripts without spaces have a sentence in one word.
func words(text string) string {
	var b strings.Builder
	for w := range strings.FieldsSeq(text) {
		if strings.ContainsAny(w, "0123456789_@=/\\<>{}|$#~") &&
			!strings.ContainsFunc(w, func(c rune) bool { return c > unicode.MaxASCII }) {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(w)
	}
	return b.String()
}
