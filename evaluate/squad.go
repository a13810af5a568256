package evaluate

import (
	"strings"
	"unicode"
)

// NormalizeAnswer is the normalisation of SQuAD's evaluation script (Rajpurkar et al. 2016): lower case, without ASCII punctuation, without
// the articles a, an and the, with single spaces.
func NormalizeAnswer(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x80 && (unicode.IsPunct(r) || strings.ContainsRune("$+<=>^`|~", r)) {
			return -1
		}
		return r
	}, strings.ToLower(s))
	// Articles stand between characters that are of no word, as Python's \b sees them.
	inWord := func(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r) }
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return !inWord(r) })
		if n < 0 {
			n = len(s)
		}
		switch w := s[:n]; w {
		case "a", "an", "the":
			b.WriteByte(' ')
		default:
			b.WriteString(w)
		}
		s = s[n:]
		if n = strings.IndexFunc(s, inWord); n < 0 {
			n = len(s)
		}
		b.WriteString(s[:n])
		s = s[n:]
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// ExactMatch is SQuAD's exact match of a prediction with the best of the accepted answers: 1 when they are equal once normalised, else 0.
func ExactMatch(prediction string, golds ...string) float64 {
	p := NormalizeAnswer(prediction)
	for _, g := range golds {
		if NormalizeAnswer(g) == p {
			return 1
		}
	}
	return 0
}

// AnswerF1 is SQuAD 2.0's F1 of the words of a prediction with the best of the accepted answers. Where one of the two has no words it is 1
// when neither has any, else 0.
func AnswerF1(prediction string, golds ...string) float64 { return best(prediction, golds, true) }

// AnswerF1V1 is SQuAD 1.1's F1, 0 where nothing is in common, both empty too.
func AnswerF1V1(prediction string, golds ...string) float64 { return best(prediction, golds, false) }

func best(prediction string, golds []string, v2 bool) float64 {
	out := 0.0
	p := strings.Fields(NormalizeAnswer(prediction))
	for _, gold := range golds {
		g := strings.Fields(NormalizeAnswer(gold))
		if v2 && len(p) == 0 && len(g) == 0 {
			return 1
		}
		count := map[string]int{}
		for _, w := range g {
			count[w]++
		}
		same := 0
		for _, w := range p {
			if count[w] > 0 {
				count[w]--
				same++
			}
		}
		if same == 0 {
			continue
		}
		precision, recall := float64(same)/float64(len(p)), float64(same)/float64(len(g))
		out = max(out, 2*precision*recall/(precision+recall))
	}
	return out
}
