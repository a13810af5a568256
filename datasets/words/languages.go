package words

import (
	"fmt"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// language is how the words of one language differ from the others'.
type language struct {
	code       string // ISO 639-1; "xx" for any
	alias      string // ISO 639-3, as datatrove names languages
	exceptions string // the data file of exceptions
	prefixes   []string
	suffixes   []string // of several characters
	dashEnd    bool     // — and – are suffixes
	digitDot   bool     // a full stop after a digit is a suffix
	infix      func(before, after uint16, s string) int
}

// table lists the languages that have rules of their own. Any other is split by the rules of "xx", which suit scripts with spaces.
var table = []language{
	{"en", "eng", "en.txt", nil, []string{"'s", "'S", "’s", "’S"}, true, true, infixEnglish},
	{"de", "deu", "de.txt", []string{"``"}, []string{"''", "/"}, false, false, infixGerman},
	{"xx", "und", "xx.txt", nil, []string{"'s", "'S", "’s", "’S"}, true, true, infixAny},
}

var splitters sync.Map // code → *Splitter

// For returns the splitter of a language by its ISO 639-1 or 639-3 code. A language without rules of its own has those of "xx"; those that
// are written without spaces (Chinese, Japanese, Thai, Khmer, Lao, Burmese, Tibetan) are cut into characters: see unspaced.
func For(code string) (rules.Splitter, error) {
	c := strings.ToLower(code)
	if isUnspaced(c) {
		return unspaced{}, nil
	}
	if len(c) < 2 || len(c) > 3 || strings.Trim(c, "abcdefghijklmnopqrstuvwxyz") != "" {
		return nil, fmt.Errorf("language %q is not a code of ISO 639, such as en or deu", code)
	}
	l := &table[len(table)-1]
	for i := range table {
		if c == table[i].code || c == table[i].alias {
			l = &table[i]
		}
	}
	if s, ok := splitters.Load(l.code); ok {
		return s.(*Splitter), nil
	}
	s, _ := splitters.LoadOrStore(l.code, newSplitter(l))
	return s.(*Splitter), nil
}

// The infixes: each looks at the classes of the characters before and after s[0], and returns how many bytes at the beginning of s are cut
// out.

func infixCommon(before, after uint16, s string) int {
	switch s[0] {
	case '.':
		if n := dots(s); n > 1 {
			return n
		}
	case '+', '-', '*', '^':
		if before&digit != 0 && len(s) > 1 && (after&digit != 0 || s[1] == '-') {
			return 1
		}
	}
	return 0
}

func infixEnglish(before, after uint16, s string) int {
	return infixDashes(before, after, s, alpha|digit)
}

func infixAny(before, after uint16, s string) int { return infixDashes(before, after, s, alpha) }

// infixDashes are the infixes of spaCy's default, with dashes after the given classes.
func infixDashes(before, after uint16, s string, dash uint16) int {
	if n := infixCommon(before, after, s); n > 0 {
		return n
	}
	switch s[0] {
	case '.':
		if before&(lower|quote) != 0 && after&(upper|quote) != 0 {
			return 1
		}
	case ',':
		if before&after&alpha != 0 {
			return 1
		}
	case ':', '<', '>', '=', '/':
		if before&(alpha|digit) != 0 && after&alpha != 0 {
			return 1
		}
	case '-', '~', 0xe2:
		if before&dash != 0 {
			return dashes(s)
		}
	}
	return 0
}

// dashes is the length of a hyphen or dash at the beginning of s that a letter follows.
func dashes(s string) int {
	for _, h := range [...]string{"-", "–", "—", "--", "---", "——", "~"} {
		if strings.HasPrefix(s, h) && flags(first(s[len(h):]))&alpha != 0 {
			return len(h)
		}
	}
	return 0
}

func infixGerman(before, after uint16, s string) int {
	if s[0] == '.' {
		if n := dots(s); n > 1 {
			return n
		}
	}
	both := before&after&alpha != 0
	switch s[0] {
	case '.':
		if before&lower != 0 && after&upper != 0 {
			return 1
		}
	case ',', '!', '?', ':', '<', '>', '=', '(', ')', '[', ']':
		if both {
			return 1
		}
	case '/':
		if before&(alpha|digit) != 0 && after&(alpha|digit) != 0 {
			return 1
		}
	case '-':
		if strings.HasPrefix(s, "--") && before&alpha != 0 && flags(first(s[2:]))&alpha != 0 {
			return 2
		}
		if before&digit != 0 && after&digit != 0 {
			return 1
		}
	case '\'':
	default:
		if r := first(s); both && flags(r)&quote != 0 {
			return size(r)
		}
	}
	return 0
}
