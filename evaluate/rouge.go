package evaluate

import (
	"strings"
)

// ROUGEScore is precision, recall and their harmonic mean, from 0 to 1.
type ROUGEScore struct {
	Precision float64 `json:"precision"`
	Recall    float64 `json:"recall"`
	FMeasure  float64 `json:"fmeasure"`
}

// ROUGE are the scores of Lin (2004) of a prediction beside a target, as the Python library rouge_score computes them. Only ASCII letters
// and digits make words: scores of other scripts say nothing.
type ROUGE struct {
	ROUGE1 ROUGEScore `json:"rouge1"` // words
	ROUGE2 ROUGEScore `json:"rouge2"` // pairs of words
	L      ROUGEScore `json:"rougeL"` // longest common subsequence of words
	// LSum takes the longest common subsequences by lines (sentences) and unites them.
	LSum ROUGEScore `json:"rougeLsum"`
}

// ScoreROUGE scores a prediction. With stem, words of more than three letters are cut to their English stems (Porter).
func ScoreROUGE(target, prediction string, stem bool) ROUGE {
	t, p := rougeWords(target, stem), rougeWords(prediction, stem)
	return ROUGE{ROUGE1: rougeN(t, p, 1), ROUGE2: rougeN(t, p, 2), L: rougeRatio(len(lcsIndices(t, p)), len(t), len(p)),
		LSum: rougeLSum(rougeLines(target, stem), rougeLines(prediction, stem))}
}

func rougeWords(s string, stem bool) []string {
	// Python's lower case of İ is an i with a combining dot, which ends a word.
	s = strings.ToLower(strings.ReplaceAll(s, "\u0130", "i\u0307"))
	words := strings.FieldsFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if stem {
		for i, w := range words {
			if len(w) > 3 {
				words[i] = porterStem(w)
			}
		}
	}
	return words
}

func rougeLines(s string, stem bool) (out [][]string) {
	for l := range strings.SplitSeq(s, "\n") {
		if l != "" {
			out = append(out, rougeWords(l, stem))
		}
	}
	return out
}

// rougeRatio is the score of hits among n words of the target and m of the prediction.
func rougeRatio(hits, n, m int) ROUGEScore {
	s := ROUGEScore{Precision: float64(hits) / float64(max(m, 1)), Recall: float64(hits) / float64(max(n, 1))}
	if d := s.Precision + s.Recall; d > 0 {
		s.FMeasure = 2 * s.Precision * s.Recall / d
	}
	return s
}

func rougeN(target, prediction []string, n int) ROUGEScore {
	count := func(words []string) (ngrams, int) {
		m := ngrams{}
		for i := 0; i+n <= len(words); i++ {
			m[strings.Join(words[i:i+n], " ")]++
		}
		return m, max(len(words)-n+1, 0)
	}
	t, tn := count(target)
	p, pn := count(prediction)
	hits := 0
	for g, k := range t {
		hits += min(k, p[g])
	}
	return rougeRatio(hits, tn, pn)
}

// lcsIndices are the places in a of a longest common subsequence of a and b; of several the one that rouge_score's walk back from the ends
// finds.
func lcsIndices(a, b []string) []int {
	w := len(b) + 1
	t := make([]int32, (len(a)+1)*w)
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			if a[i-1] == b[j-1] {
				t[i*w+j] = t[(i-1)*w+j-1] + 1
			} else {
				t[i*w+j] = max(t[(i-1)*w+j], t[i*w+j-1])
			}
		}
	}
	var out []int
	for i, j := len(a), len(b); i > 0 && j > 0; {
		switch {
		case a[i-1] == b[j-1]:
			i, j = i-1, j-1
			out = append(out, i)
		case t[i*w+j-1] > t[(i-1)*w+j]:
			j--
		default:
			i--
		}
	}
	return out
}

// rougeLSum unites, for each line of the target, its common subsequences with all lines of the prediction; no word counts more often than
// either has it.
func rougeLSum(target, prediction [][]string) ROUGEScore {
	count := func(lines [][]string) (ngrams, int) {
		m, n := ngrams{}, 0
		for _, l := range lines {
			for _, w := range l {
				m[w]++
			}
			n += len(l)
		}
		return m, n
	}
	t, tn := count(target)
	p, pn := count(prediction)
	hits := 0
	for _, l := range target {
		in := make([]bool, len(l))
		for _, c := range prediction {
			for _, i := range lcsIndices(l, c) {
				in[i] = true
			}
		}
		for i, w := range l {
			if in[i] && t[w] > 0 && p[w] > 0 {
				hits++
				t[w]--
				p[w]--
			}
		}
	}
	return rougeRatio(hits, tn, pn)
}
