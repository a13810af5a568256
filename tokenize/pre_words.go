package tokenize

import (
	"fmt"
	"sync"
	"unicode"
	"unicode/utf8"
)

// mappedBefore refuses a pre-tokenizer that looks at characters after ByteLevel spelled them as bytes.
func mappedBefore(v val, kind string) error {
	return fmt.Errorf("%s: %s after ByteLevel is not supported", v.path, kind)
}

// spaced cuts g at white space, which goes away, and with punct takes each punctuation character as a word.
func (w *worker) spaced(k int, g seg, punct bool) error {
	from := -1
	flush := func(e int) error {
		b := from
		from = -1
		if b < 0 {
			return nil
		}
		return w.pre(k+1, g.sub(b, e))
	}
	for i := 0; i < len(g.s); {
		c, n := next(w.t, g.s, i)
		switch {
		case c&classS != 0:
			if err := flush(i); err != nil {
				return err
			}
		case punct && c&classP != 0:
			if err := flush(i); err != nil {
				return err
			}
			if err := w.pre(k+1, g.sub(i, i+n)); err != nil {
				return err
			}
		case from < 0:
			from = i
		}
		i += n
	}
	return flush(len(g.s))
}

// findWords finds what `Whitespace` leaves out: everything but \w+ and [^\w\s]+, with \w of Rust. Two such runs without space between them
// are two words.
func findWords(s string) (m []mspan, _ error) {
	t := classTable()
	const word, other, space = 0, 1, 2
	last := -1
	for i := 0; i < len(s); {
		c, n := next(t, s, i)
		kind := other
		if c&classW != 0 {
			kind = word
		} else if c&classS != 0 {
			kind = space
		}
		if kind == last {
			m[len(m)-1].e = i + n
		} else {
			m = append(m, mspan{i, i + n, kind == space})
		}
		last = kind
		i += n
	}
	return m, nil
}

// scripts cuts where the script changes; spaces and characters without a script belong to what is before them. What stands before the first
// character with a script is lost, as in Hugging Face tokenizers.
func (w *worker) scripts(k int, g seg) error {
	from, last := -1, ""
	for i, r := range g.s {
		s := scriptOf(r)
		if s == "" {
			continue
		}
		if s != last {
			if from >= 0 {
				if err := w.pre(k+1, g.sub(from, i)); err != nil {
					return err
				}
			}
			from = i
		}
		last = s
	}
	if from < 0 {
		return nil
	}
	return w.pre(k+1, g.sub(from, len(g.s)))
}

// scriptOf is the script of a character, "" for the space and for characters that have none; Hiragana and Katakana count as Han, as
// sentencepiece has it.
func scriptOf(r rune) string {
	if r == ' ' {
		return ""
	}
	if r == 0x30FC {
		return "Han"
	}
	t := scriptTable()
	if s := t.names[t.of[r]]; s != "Hiragana" && s != "Katakana" {
		return s
	}
	return "Han"
}

type scripts struct {
	names []string
	of    [unicode.MaxRune + 1]uint8
}

var scriptTable = sync.OnceValue(func() *scripts {
	t := &scripts{names: []string{""}}
	for name, rt := range unicode.Scripts {
		id := uint8(len(t.names))
		t.names = append(t.names, name)
		for _, r := range rt.R16 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				t.of[c] = id
			}
		}
		for _, r := range rt.R32 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				t.of[c] = id
			}
		}
	}
	return t
})

// lengths cuts g into words of n characters, the last one as long as what is left.
func (w *worker) lengths(k int, g seg, n int) error {
	for i := 0; i < len(g.s); {
		e := i
		for c := 0; c < n && e < len(g.s); c++ {
			_, m := utf8.DecodeRuneInString(g.s[e:])
			e += m
		}
		if err := w.pre(k+1, g.sub(i, e)); err != nil {
			return err
		}
		i = e
	}
	return nil
}
