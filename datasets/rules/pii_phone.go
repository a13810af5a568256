package rules

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// nationalPhones are numbers as they are written at home, without the country's code: with the marks that set them apart from other
// numbers.
var nationalPhones = findAll(regexp.MustCompile(strings.Join([]string{
	`\(?\b[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}\b`, // North America
	`\b0[1-9](?:[ .-][0-9]{2}){4}\b`,                         // France, Belgium
	`\(?\b0(?:2[0-9]\)?[ -][0-9]{4}[ -]?[0-9]{4}|1[0-9]{2,4}\)?[ -][0-9]{3}[ -]?[0-9]{3,4}|7[0-9]{3}[ -][0-9]{3}[ -]?[0-9]{3})\b`, // United Kingdom
	`\b0[1-9][0-9]{0,3}-[0-9]{1,4}-[0-9]{4}\b`,                                  // Japan, Korea
	`\(?\b0[1-9][0-9]{1,4}\)?(?: ?[/-] ?| )[0-9]{3,8}(?:[ -][0-9]{2,5}){0,3}\b`, // Germany, Austria, Switzerland, Italy, the Netherlands
	`\(0[2378]\) ?[0-9]{4} ?[0-9]{4}\b`,                                         // Australia
	`\b[6-9][0-9]{2}(?: [0-9]{2}){3}\b`,                                         // Spain
	`\b8[ -]?\([3-9][0-9]{2}\)[ -]?[0-9]{3}[ -][0-9]{2}[ -][0-9]{2}\b`,          // Russia
	`\b8[ -][3-9][0-9]{2}[ -][0-9]{3}-[0-9]{2}-[0-9]{2}\b`,                      // Russia
	`\([1-9][0-9]\) ?9?[0-9]{4}-[0-9]{4}\b`,                                     // Brazil
	`\b1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}\b`,                                   // China
	`\b0?[6-9][0-9]{4}[ -][0-9]{5}\b`,                                           // India
}, "|")), isNationalPhone)

var internationalPhones = findAll(regexp.MustCompile(
	`\+[0-9]{1,3}[ .-]?(?:\(0?[0-9]{1,4}\)[ .-]?)?[0-9]{1,5}(?:[ .-]?[0-9]{2,5}){1,4}\b`), isPhone)

// date is what numbers with marks are too: 01.02.2024, 2024-01-02.
var date = regexp.MustCompile(`^\(?0?[0-9]{1,2}[ ./-][0-9]{1,2}[ ./-](?:19|20)[0-9]{2}\b`)

// isNationalPhone bounds the digits as national plans do.
func isNationalPhone(s string) bool {
	n := len(digitsOf(s))
	return n >= 9 && n <= 12 && !date.MatchString(s)
}

// findPhones finds numbers with the code of a country, and those of national forms.
func findPhones(p *PII, text string) []Span {
	out := internationalPhones(p, text)
	for _, s := range nationalPhones(p, text) {
		if !overlaps(out, s) {
			out = append(out, s)
		}
	}
	sortSpans(out)
	return out
}

// isPhone bounds the digits as E.164 does.
func isPhone(s string) bool {
	n := len(digitsOf(s))
	return n >= 8 && n <= 15
}

func overlaps(all []Span, s Span) bool {
	return slices.ContainsFunc(all, func(o Span) bool { return s.Start < o.End && o.Start < s.End })
}

func sortSpans(all []Span) {
	slices.SortFunc(all, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
}
