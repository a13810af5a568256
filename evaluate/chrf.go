package evaluate

import (
	"strings"

	"github.com/adaptflow/adaptflow/internal/pytext"
)

// ChrF is the character n-gram F-score of Popović (2015), as sacrebleu 2 computes it. Its zero value is of no use; [NewChrF] has
// sacrebleu's defaults.
type ChrF struct {
	CharOrder  int     // longest character n-gram: nc
	WordOrder  int     // longest word n-gram: nw; 2 is chrF++ (Popović 2017)
	Beta       float64 // weight of recall over precision
	Lowercase  bool
	Whitespace bool // white space counts as characters
	// EpsSmoothing averages the F-scores of all orders, as chrF++.py, Moses and NLTK do; else precision and recall of the orders that occur
	// are averaged.
	EpsSmoothing bool
}

// NewChrF is chrF2: character n-grams up to 6, beta 2. Its signature is nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no.
func NewChrF() *ChrF { return &ChrF{CharOrder: 6, Beta: 2} }

// NewChrFPlusPlus is chrF2++, which counts words and pairs of words too.
func NewChrFPlusPlus() *ChrF { return &ChrF{CharOrder: 6, WordOrder: 2, Beta: 2} }

// ngrams are the counts of one order.
type ngrams map[string]int

// counts are, of one order, the n-grams of the hypothesis (0 where the reference has none), of the reference, and those in common.
type counts [3]int

// Corpus is the score from 0 to 100 of hypotheses, the counts of all added before precision and recall are taken. references[i] are those
// of hypotheses[i], of which the one of the highest score counts.
func (c *ChrF) Corpus(hypotheses []string, references [][]string) float64 {
	if len(hypotheses) != len(references) {
		panic("evaluate: chrF wants the references of each hypothesis")
	}
	sum := make([]counts, c.CharOrder+c.WordOrder)
	for i, h := range hypotheses {
		for n, k := range c.segment(h, references[i]) {
			for j := range k {
				sum[n][j] += k[j]
			}
		}
	}
	return c.fscore(sum)
}

// Sentence is the score of one hypothesis.
func (c *ChrF) Sentence(hypothesis string, references ...string) float64 {
	return c.Corpus([]string{hypothesis}, [][]string{references})
}

// segment counts with the reference of the highest score, the first of equals.
func (c *ChrF) segment(hypothesis string, references []string) []counts {
	var best []counts
	top := -1.0
	hyp := c.extract(hypothesis)
	for _, ref := range references {
		r := c.extract(ref)
		stats := make([]counts, len(hyp))
		for n := range hyp {
			for g, k := range hyp[n] {
				stats[n][0] += k
				stats[n][2] += min(k, r[n][g])
			}
			for _, k := range r[n] {
				stats[n][1] += k
			}
			if len(r[n]) == 0 {
				stats[n][0] = 0
			}
		}
		if f := c.fscore(stats); f > top {
			top, best = f, stats
		}
	}
	return best
}

// extract counts the n-grams of each order, characters first.
func (c *ChrF) extract(s string) []ngrams {
	if c.Lowercase {
		s = strings.ToLower(s)
	}
	out := make([]ngrams, 0, c.CharOrder+c.WordOrder)
	chars := s
	if !c.Whitespace {
		chars = strings.Join(pytext.Fields(s), "")
	}
	var starts []int // of each character, and the end
	for i := range chars {
		starts = append(starts, i)
	}
	starts = append(starts, len(chars))
	for n := 1; n <= c.CharOrder; n++ {
		m := ngrams{}
		for i := 0; i+n < len(starts); i++ {
			m[chars[starts[i]:starts[i+n]]]++
		}
		out = append(out, m)
	}
	if c.WordOrder == 0 {
		return out
	}
	words := chrfWords(s)
	for n := 1; n <= c.WordOrder; n++ {
		m := ngrams{}
		for i := 0; i+n <= len(words); i++ {
			m[strings.Join(words[i:i+n], " ")]++
		}
		out = append(out, m)
	}
	return out
}

const asciiPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// chrfWords splits on white space and takes one punctuation mark off each word, the last if there is one, else the first.
func chrfWords(s string) (out []string) {
	for _, w := range pytext.Fields(s) {
		last := len(w) - 1
		switch {
		case last == 0:
			out = append(out, w)
		case strings.IndexByte(asciiPunctuation, w[last]) >= 0:
			out = append(out, w[:last], w[last:])
		case strings.IndexByte(asciiPunctuation, w[0]) >= 0:
			out = append(out, w[:1], w[1:])
		default:
			out = append(out, w)
		}
	}
	return out
}

// fscore is the F-score of the orders together.
func (c *ChrF) fscore(stats []counts) float64 {
	const eps = 1e-16
	factor := c.Beta * c.Beta
	smooth, precision, recall := 0.0, 0.0, 0.0
	orders := 0
	for _, k := range stats {
		p, r := eps, eps
		if k[0] > 0 {
			p = float64(k[2]) / float64(k[0])
		}
		if k[1] > 0 {
			r = float64(k[2]) / float64(k[1])
		}
		if d := float64(factor*p) + r; d > 0 {
			smooth += (1 + factor) * p * r / d
		} else {
			smooth += eps
		}
		if k[0] > 0 && k[1] > 0 {
			precision, recall = precision+p, recall+r
			orders++
		}
	}
	if c.EpsSmoothing {
		return 100 * smooth / float64(len(stats))
	}
	if orders == 0 || precision+recall == 0 {
		return 0
	}
	precision, recall = precision/float64(orders), recall/float64(orders)
	return 100 * ((1 + factor) * precision * recall / (float64(factor*precision) + recall))
}
