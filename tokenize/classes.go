package tokenize

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"sync"
	"unicode"
)

// Character classes of the split patterns and pre-tokenizers, bits of classTable.
const (
	classL   uint8 = 1 << iota // \p{L}
	classN                     // \p{N}
	classS                     // \s
	classNL                    // \r \n
	classP                     // punctuation: ASCII or \p{P}, as Punctuation and BertPreTokenizer have it
	classNum                   // numeric, as Digits has it
	classW                     // \w of Rust, as Whitespace and single_word have it
)

// unicodeClasses are the characters of each class as Hugging Face tokenizers has them, whose parts follow different versions of Unicode;
// unicode/make.py asks the library.
//
//go:embed unicode/classes.json.gz
var unicodeClasses []byte

// classes are unicodeClasses, read.
type classes struct {
	ranges map[string][]runeRange
	lower  map[rune]string // every character whose lower case is another
}

// runeRange is a range of code points, both ends in it.
type runeRange struct{ lo, hi rune }

var readClasses = sync.OnceValue(func() *classes {
	z, err := gzip.NewReader(bytes.NewReader(unicodeClasses))
	if err != nil {
		panic("tokenize: the embedded classes: " + err.Error())
	}
	var raw map[string]json.RawMessage
	if err := json.NewDecoder(z).Decode(&raw); err != nil {
		panic("tokenize: the embedded classes: " + err.Error())
	}
	c := &classes{ranges: map[string][]runeRange{}, lower: map[rune]string{}}
	for name, m := range raw {
		if name == "lower" {
			var low map[string]string
			if err := json.Unmarshal(m, &low); err != nil {
				panic("tokenize: the embedded classes: " + err.Error())
			}
			for from, to := range low {
				c.lower[[]rune(from)[0]] = to
			}
			continue
		}
		var flat []rune
		if err := json.Unmarshal(m, &flat); err != nil {
			panic("tokenize: the embedded classes: " + err.Error())
		}
		at := rune(0)
		for i := 0; i+1 < len(flat); i += 2 {
			lo := at + flat[i]
			at = lo + flat[i+1]
			c.ranges[name] = append(c.ranges[name], runeRange{lo, at})
		}
	}
	return c
})

// runeSet is a set of code points.
type runeSet [(unicode.MaxRune + 64) / 64]uint64

func (s *runeSet) has(r rune) bool { return s[r>>6]>>(r&63)&1 != 0 }

func (s *runeSet) add(rs []runeRange) {
	for _, x := range rs {
		for r := x.lo; r <= x.hi; r++ {
			s[r>>6] |= 1 << (r & 63)
		}
	}
}

// classSet is the set of a class of unicode/classes.json.gz.
var classSet = func() func(string) *runeSet {
	var mu sync.Mutex
	sets := map[string]*runeSet{}
	return func(name string) *runeSet {
		mu.Lock()
		defer mu.Unlock()
		if sets[name] == nil {
			rs, ok := readClasses().ranges[name]
			if !ok {
				panic("tokenize: no class " + name)
			}
			sets[name] = new(runeSet)
			sets[name].add(rs)
		}
		return sets[name]
	}
}()

// classTable holds the classes of every code point.
var classTable = sync.OnceValue(func() *[unicode.MaxRune + 1]uint8 {
	t := new([unicode.MaxRune + 1]uint8)
	c := readClasses()
	for name, bit := range map[string]uint8{"L": classL, "N": classN, "punctuation": classP, "numeric": classNum, "rust_word": classW} {
		for _, x := range c.ranges[name] {
			for r := x.lo; r <= x.hi; r++ {
				t[r] |= bit
			}
		}
	}
	for _, x := range unicode.White_Space.R16 {
		for r := rune(x.Lo); r <= rune(x.Hi); r += rune(x.Stride) {
			t[r] |= classS
		}
	}
	t['\r'] |= classNL
	t['\n'] |= classNL
	return t
})
