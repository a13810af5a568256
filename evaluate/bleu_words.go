package evaluate

import (
	"regexp"
	"strings"
)

// wordCut is one substitution of a tokenizer.
type wordCut struct {
	re  *regexp.Regexp
	new string
}

func applyCuts(s string, cuts []wordCut) string {
	for _, c := range cuts {
		s = c.re.ReplaceAllString(s, c.new)
	}
	return s
}

// westernCuts are mteval-v13a's: punctuation stands alone, period and comma unless digits stand on that side, a dash after a digit.
var westernCuts = []wordCut{
	{regexp.MustCompile("([{-~\\[-` -&(-+:-@/])"), " ${1} "},
	{regexp.MustCompile(`([^0-9])([.,])`), "${1} ${2} "},
	{regexp.MustCompile(`([.,])([^0-9])`), " ${1} ${2}"},
	{regexp.MustCompile(`([0-9])(-)`), "${1} ${2} "},
}

// intlCuts are mteval-v14's: punctuation unless digits stand on that side, and symbols.
var intlCuts = []wordCut{
	{regexp.MustCompile(`(\P{N})(\p{P})`), "${1} ${2} "},
	{regexp.MustCompile(`(\p{P})(\P{N})`), " ${1} ${2}"},
	{regexp.MustCompile(`(\p{S})`), " ${1} "},
}

func tokenize13a(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(s, "<skipped>", ""), "-\n", ""), "\n", " ")
	return applyCuts(" "+unescape(s)+" ", westernCuts)
}

// unescape replaces entities one kind after another, so that &amp;lt; becomes <.
func unescape(s string) string {
	for _, e := range [][2]string{{"&quot;", `"`}, {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}} {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}

func tokenizeIntl(s string) string { return applyCuts(s, intlCuts) }

func tokenizeZh(s string) string {
	var b strings.Builder
	for _, r := range s {
		if isChinese(r) {
			b.WriteString(" " + string(r) + " ")
		} else {
			b.WriteRune(r)
		}
	}
	return applyCuts(strings.TrimSpace(b.String()), westernCuts)
}
