package words

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// unspaced cuts text of languages that are written without spaces, and needs no dictionary: its words are those of Unicode Standard Annex
// 29, by which a Han or Hiragana character, a cluster of Thai, Lao or Khmer, a run of Katakana and a run of Latin letters or of digits are
// a word each.
type unspaced struct{}

// unspacedCodes are the languages, by ISO 639-1 and 639-3.
var unspacedCodes = strings.Fields("zh zho cmn ja jpn th tha km khm lo lao my mya bo bod")

func isUnspaced(code string) bool { return slices.Contains(unspacedCodes, code) }

// Words implements rules.Splitter.
func (unspaced) Words(text string) []string {
	out := make([]string, 0, len(text)/3)
	for state := -1; text != ""; {
		var w string
		w, text, state = uniseg.FirstWordInString(text, state)
		if r, _ := utf8.DecodeRuneInString(w); !rules.IsSpace(r) {
			out = append(out, w)
		}
	}
	return out
}

// Sentences implements rules.Splitter: a sentence ends after marks such as 。 or ！ and the closing marks that follow, and at the end of a
// line.
func (unspaced) Sentences(text string) (out []rules.Span) {
	start, end, ended := -1, 0, false
	flush := func() {
		if start >= 0 {
			out = append(out, rules.Span{Start: start, End: end})
		}
		start, ended = -1, false
	}
	for i, r := range text {
		switch c := string(r); {
		case r == '\n':
			flush()
			continue
		case rules.IsSpace(r):
			continue
		case sentenceEnds[c]:
			next := first(text[i+len(c):])
			ended = r != '.' || next == 0 || rules.IsSpace(next) // that of a number or a name ends nothing
		case ended && !isPunct(c):
			flush()
		}
		if start < 0 {
			start = i
		}
		end = i + len(string(r))
	}
	flush()
	return out
}
