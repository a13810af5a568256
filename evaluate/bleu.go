package evaluate

import (
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/adaptflow/adaptflow/internal/pytext"
)

// BLEU is the score of Papineni et al. (2002) as sacrebleu 2 computes it (Post 2018). [NewBLEU] has sacrebleu's defaults.
type BLEU struct {
	Tokenize  string // a name of bleuTokenizers: 13a, intl, char, zh, none
	Lowercase bool
	// SmoothMethod is for orders without a match: exp (halved at each, as mteval-v13a), floor (SmoothValue matches), add-k (SmoothValue
	// added from the second order on; Lin and Och 2004), none. SmoothValue 0 is sacrebleu's default, 0.1 of floor and 1 of add-k.
	SmoothMethod string
	SmoothValue  float64
	// EffectiveOrder leaves out the orders longer than the text, as is wise for single sentences.
	EffectiveOrder bool
}

// NewBLEU is BLEU of n-grams up to 4. Its signature is case:mixed|eff:no|tok:13a|smooth:exp.
func NewBLEU() *BLEU { return &BLEU{Tokenize: "13a", SmoothMethod: "exp"} }

// bleuOrder is the longest n-gram.
const bleuOrder = 4

// BLEUScore is a score with what it is made of. Counts and Totals have what add-k adds, as sacrebleu's.
type BLEUScore struct {
	Score          float64 // 0 to 100
	Counts, Totals [bleuOrder]float64
	Precisions     [bleuOrder]float64 // 0 to 100, smoothed
	BP             float64            // brevity penalty
	SysLen, RefLen int
}

// bleuTokenizers are sacrebleu's: 13a of WMT's mteval-v13a.pl, intl of mteval-v14.pl --international-tokenization, zh for Chinese (Nankai
// University's), char, none.
var bleuTokenizers = map[string]func(string) string{
	"13a":  tokenize13a,
	"intl": tokenizeIntl,
	"zh":   tokenizeZh,
	"char": func(s string) string { return strings.Join(strings.Split(s, ""), " ") },
	"none": func(s string) string { return s },
}

// Corpus is the score of hypotheses together. references[i] are those of hypotheses[i]; of their lengths the one closest to the
// hypothesis's counts, the shorter of equals. A name of a tokenizer or smoothing that does not exist is a panic.
func (b *BLEU) Corpus(hypotheses []string, references [][]string) BLEUScore {
	if len(hypotheses) != len(references) {
		panic("evaluate: BLEU wants the references of each hypothesis")
	}
	s := BLEUScore{}
	for i, h := range hypotheses {
		words := b.words(h)
		s.SysLen += len(words)
		most := ngrams{}
		closest, apart := 0, -1
		for _, r := range references[i] {
			ref := b.words(r)
			for g, n := range wordNgrams(ref) {
				most[g] = max(most[g], n)
			}
			d := len(ref) - len(words)
			if d < 0 {
				d = -d
			}
			if apart < 0 || d < apart || d == apart && len(ref) < closest {
				apart, closest = d, len(ref)
			}
		}
		s.RefLen += closest
		for g, n := range wordNgrams(words) {
			order := strings.Count(g, " ")
			s.Totals[order] += float64(n)
			s.Counts[order] += float64(min(n, most[g]))
		}
	}
	b.score(&s)
	return s
}

// Sentence is the score of one hypothesis.
func (b *BLEU) Sentence(hypothesis string, references ...string) BLEUScore {
	return b.Corpus([]string{hypothesis}, [][]string{references})
}

func (b *BLEU) words(s string) []string {
	t, ok := bleuTokenizers[b.Tokenize]
	if !ok {
		panic(fmt.Sprintf("evaluate: BLEU has no tokenizer %q", b.Tokenize))
	}
	if b.Lowercase {
		s = strings.ToLower(s)
	}
	return pytext.Fields(t(strings.TrimRightFunc(s, pytext.IsSpace)))
}

// wordNgrams counts n-grams of words, joined by spaces, which no word has.
func wordNgrams(words []string) ngrams {
	out := ngrams{}
	for n := 1; n <= bleuOrder; n++ {
		for i := 0; i+n <= len(words); i++ {
			out[strings.Join(words[i:i+n], " ")]++
		}
	}
	return out
}

func (b *BLEU) score(s *BLEUScore) {
	s.BP = 1
	switch {
	case s.SysLen == 0 && s.RefLen > 0:
		s.BP = 0
	case s.SysLen < s.RefLen:
		s.BP = math.Exp(1 - float64(s.RefLen)/float64(s.SysLen))
	}
	if s.Counts == [bleuOrder]float64{} {
		return
	}
	k := b.SmoothValue
	if k == 0 {
		k = map[string]float64{"floor": 0.1, "add-k": 1}[b.SmoothMethod]
	}
	halved, order := 1.0, bleuOrder
	for n := range s.Precisions {
		if b.SmoothMethod == "add-k" && n > 0 {
			s.Counts[n], s.Totals[n] = s.Counts[n]+k, s.Totals[n]+k
		}
		if s.Totals[n] == 0 {
			break
		}
		if b.EffectiveOrder {
			order = n + 1
		}
		switch {
		case s.Counts[n] > 0:
			s.Precisions[n] = 100 * s.Counts[n] / s.Totals[n]
		case b.SmoothMethod == "exp":
			halved *= 2
			s.Precisions[n] = 100 / (halved * s.Totals[n])
		case b.SmoothMethod == "floor":
			s.Precisions[n] = 100 * k / s.Totals[n]
		case b.SmoothMethod != "none" && b.SmoothMethod != "add-k":
			panic(fmt.Sprintf("evaluate: BLEU has no smoothing %q", b.SmoothMethod))
		}
	}
	sum := 0.0
	for _, p := range s.Precisions[:order] {
		if p == 0 {
			sum += -9999999999
		} else {
			sum += math.Log(p)
		}
	}
	s.Score = s.BP * math.Exp(sum/float64(order))
}

// isChinese is sacrebleu's table of what stands for itself in Chinese text. Two of its ranges were meant for the planes above the first
// (20000–2A6D6, 2F800–2FA1D) but are written as strings of two characters, which compare as 2001–2A6D and 2F81–2FA1; so do scores.
func isChinese(r rune) bool { return unicode.Is(chineseTable, r) }

var chineseTable = &unicode.RangeTable{R16: []unicode.Range16{
	{Lo: 0x2001, Hi: 0x2a6d, Stride: 1}, {Lo: 0x2e80, Hi: 0x2eff, Stride: 1}, {Lo: 0x2f00, Hi: 0x2fdf, Stride: 1},
	{Lo: 0x2ff0, Hi: 0x303f, Stride: 1}, {Lo: 0x3100, Hi: 0x312f, Stride: 1},
	{Lo: 0x31a0, Hi: 0x31bf, Stride: 1}, {Lo: 0x31c0, Hi: 0x31ef, Stride: 1}, {Lo: 0x3200, Hi: 0x33ff, Stride: 1},
	{Lo: 0x3400, Hi: 0x4db5, Stride: 1}, {Lo: 0x4e00, Hi: 0x9fbb, Stride: 1},
	{Lo: 0xf900, Hi: 0xfa2d, Stride: 1}, {Lo: 0xfa30, Hi: 0xfa6a, Stride: 1}, {Lo: 0xfa70, Hi: 0xfad9, Stride: 1},
	{Lo: 0xfe10, Hi: 0xfe1f, Stride: 1}, {Lo: 0xfe30, Hi: 0xfe4f, Stride: 1},
	{Lo: 0xff00, Hi: 0xffef, Stride: 1},
}}
