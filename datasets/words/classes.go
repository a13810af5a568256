package words

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// The data files hold spaCy's character classes and exceptions (MIT, Explosion AI); data/make.py writes them.
//
//go:embed data/*.txt
var data embed.FS

// Classes of characters.
const (
	alpha   = 1 << iota // letters, of scripts with and without case
	lower               // lower case and uncased
	upper               // upper case and uncased
	icon                // symbols, emoji
	quote               // quotation marks and brackets of that kind
	punct               // marks that stand alone at an edge
	digit               // 0-9
	money               // currency signs of one character
	beforeD             // marks that a full stop is cut off after, besides digits, lower case and quotes
	edge                // prefixes and suffixes of one character: punct, quote, icon
)

// The lists of marks of spaCy's char_classes, one character each.
const (
	punctMarks = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
	moneyMarks = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿"
)

var lowFlags [1 << 16]uint16
var highFlags map[rune]uint16

var loadClasses = sync.OnceFunc(func() {
	highFlags = map[rune]uint16{}
	add := func(r rune, f uint16) {
		if r < 1<<16 {
			lowFlags[r] |= f
		} else {
			highFlags[r] |= f
		}
	}
	names := map[string]uint16{"alpha": alpha, "lower": lower, "upper": upper, "icon": icon | edge, "quote": quote | edge}
	for _, line := range dataLines("classes.txt") {
		name, rest, _ := strings.Cut(line, " ")
		for _, span := range strings.Fields(rest) {
			a, b, two := strings.Cut(span, "-")
			if !two {
				b = a
			}
			lo, err1 := strconv.ParseInt(a, 16, 32)
			hi, err2 := strconv.ParseInt(b, 16, 32)
			if err1 != nil || err2 != nil || names[name] == 0 {
				panic(fmt.Sprintf("words: data/classes.txt: %q of %q", span, name))
			}
			for r := lo; r <= hi; r++ {
				add(rune(r), names[name])
			}
		}
	}
	for _, r := range punctMarks {
		add(r, punct|edge|beforeD)
	}
	for _, r := range moneyMarks {
		add(r, money)
	}
	for r := '0'; r <= '9'; r++ {
		add(r, digit)
	}
	for _, r := range "%²-+|(?:)" {
		add(r, beforeD)
	}
})

func flags(r rune) uint16 {
	if r < 1<<16 {
		return lowFlags[r]
	}
	return highFlags[r]
}

// dataLines are the lines of an embedded file without comments.
func dataLines(name string) []string {
	b, err := data.ReadFile("data/" + name)
	if err != nil {
		panic(fmt.Sprintf("words: %v", err))
	}
	var out []string
	for l := range strings.SplitSeq(strings.TrimSuffix(string(b), "\n"), "\n") {
		if !strings.HasPrefix(l, "# ") {
			out = append(out, l)
		}
	}
	return out
}
