package tokenize

import (
	"unicode"
	"unicode/utf8"
)

// scanner finds the end of the match that begins at i. The patterns it stands
// for match at every place, so the matches cover the text.
type scanner func(t *[unicode.MaxRune + 1]uint8, s string, i int) int

// next is the class and the length of the character at i; length 0 at the end.
func next(t *[unicode.MaxRune + 1]uint8, s string, i int) (uint8, int) {
	if i >= len(s) {
		return 0, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return t[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return t[r], n
}

// run is the end of the characters from i on that have one of the classes of
// mask.
func run(t *[unicode.MaxRune + 1]uint8, s string, i int, mask uint8) int {
	for i < len(s) {
		if c := s[i]; c < utf8.RuneSelf {
			if t[c]&mask == 0 {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if t[r]&mask == 0 {
			return i
		}
		i += n
	}
	return i
}

// runOther is the end of the characters from i on that are neither letter,
// number nor space.
func runOther(t *[unicode.MaxRune + 1]uint8, s string, i int) int {
	for i < len(s) {
		c, n := next(t, s, i)
		if c&(classL|classN|classS) != 0 {
			return i
		}
		i += n
	}
	return i
}

// runSpace is the end of `\s+(?!\S)|\s+` at i, a space.
func runSpace(t *[unicode.MaxRune + 1]uint8, s string, i int) int {
	e := run(t, s, i, classS)
	if e == len(s) {
		return e
	}
	if _, n := utf8.DecodeLastRuneInString(s[i:e]); e-n > i {
		return e - n
	}
	return e
}

// contraction is the length of 's 't 're 've 'm 'll 'd after the apostrophe at
// i, 0 where there is none. With fold, letter case does not matter, and the long
// s (U+017F) counts as s, as Oniguruma folds it.
func contraction(s string, i int, fold bool) int {
	if i+1 >= len(s) {
		return 0
	}
	low := func(j int) byte {
		if j >= len(s) {
			return 0
		}
		if c := s[j]; fold && c >= 'A' && c <= 'Z' {
			return c | 0x20
		}
		return s[j]
	}
	switch c := low(i + 1); c {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if low(i+2) == 'e' {
			return 3
		}
	case 'l':
		if low(i+2) == 'l' {
			return 3
		}
	case 0xC5:
		if fold && i+2 < len(s) && s[i+2] == 0xBF {
			return 3
		}
	}
	return 0
}

// scanGPT2 is
// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func scanGPT2(t *[unicode.MaxRune + 1]uint8, s string, i int) int {
	c, n := next(t, s, i)
	if s[i] == '\'' {
		if k := contraction(s, i, false); k > 0 {
			return i + k
		}
	}
	j := i + n
	if s[i] == ' ' {
		d, m := next(t, s, j)
		if m == 0 {
			return j
		}
		if d&classS != 0 {
			return runSpace(t, s, i)
		}
		c = d
		j += m
	}
	switch {
	case c&classL != 0:
		return run(t, s, j, classL)
	case c&classN != 0:
		return run(t, s, j, classN)
	case c&classS != 0:
		return runSpace(t, s, i)
	}
	return runOther(t, s, j)
}

// scanCL100K is the pattern of cl100k_base, with numbers of at most digits
// digits (3 in Llama 3, 1 in Qwen 2):
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func scanCL100K(digits int) scanner {
	return func(t *[unicode.MaxRune + 1]uint8, s string, i int) int {
		c, n := next(t, s, i)
		if s[i] == '\'' {
			if k := contraction(s, i, true); k > 0 {
				return i + k
			}
		}
		j := i + n
		if c&classL != 0 {
			return run(t, s, j, classL)
		}
		if c&classN != 0 {
			for k := 1; k < digits; k++ {
				d, m := next(t, s, j)
				if m == 0 || d&classN == 0 {
					break
				}
				j += m
			}
			return j
		}
		d, m := next(t, s, j)
		if c&classNL == 0 && d&classL != 0 {
			return run(t, s, j+m, classL)
		}
		if c&classS == 0 {
			return run(t, s, runOther(t, s, j), classNL)
		}
		if s[i] == ' ' && m > 0 && d&(classS|classL|classN) == 0 {
			return run(t, s, runOther(t, s, j+m), classNL)
		}
		e := run(t, s, i, classS)
		for k := e; k > i; k-- {
			if s[k-1] == '\n' || s[k-1] == '\r' {
				return k
			}
		}
		return runSpace(t, s, i)
	}
}

const patternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// scanners are the split patterns that have a scanner of their own, by their
// exact spelling.
var scanners = map[string]scanner{
	patternGPT2: scanGPT2,
	`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                             scanGPT2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: scanCL100K(3),
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:      scanCL100K(1),
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:      scanCL100K(3),
}
