package evaluate

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/pytext"
)

// TER is the translation edit rate of Snover et al. (2006): insertions, deletions, substitutions and shifts of word sequences, a hundred
// words of the reference. Shifts are searched as sacrebleu 2 does, after Tercom. The zero value has sacrebleu's defaults.
type TER struct {
	Normalized    bool // cut punctuation off words
	NoPunct       bool // leave punctuation out
	CaseSensitive bool
}

// Limits of the search, Tercom's and (of candidates) sacrebleu's.
const (
	terShiftSize  = 10
	terShiftDist  = 50
	terBeam       = 25
	terCandidates = 1000
)

// Corpus is the score of hypotheses together; 0 is the best. references[i] are those of hypotheses[i]: the fewest edits to one of them are
// divided by their mean length.
func (t *TER) Corpus(hypotheses []string, references [][]string) float64 {
	if len(hypotheses) != len(references) {
		panic("evaluate: TER wants the references of each hypothesis")
	}
	edits, words := 0.0, 0.0
	for i, h := range hypotheses {
		hyp := t.words(h)
		best, sum := math.Inf(1), 0
		for _, r := range references[i] {
			ref := t.words(r)
			best = min(best, float64(terEdits(hyp, ref)))
			sum += len(ref)
		}
		if len(references[i]) > 0 {
			edits, words = edits+best, words+float64(sum)/float64(len(references[i]))
		}
	}
	switch {
	case words > 0:
		return 100 * (edits / words)
	case edits > 0:
		return 100
	}
	return 0
}

// Sentence is the score of one hypothesis.
func (t *TER) Sentence(hypothesis string, references ...string) float64 {
	return t.Corpus([]string{hypothesis}, [][]string{references})
}

// possessive and punctuation are Tercom's.
var (
	terPossessive  = []wordCut{{regexp.MustCompile(`'s `), " 's "}, {regexp.MustCompile(`'s$`), " 's"}}
	terPunctuation = regexp.MustCompile(`[.,?:;!"()]`)
)

func (t *TER) words(s string) []string {
	s = strings.TrimRightFunc(s, pytext.IsSpace)
	if !t.CaseSensitive {
		s = strings.ToLower(s)
	}
	if t.Normalized {
		s = " " + unescape(strings.ReplaceAll(strings.ReplaceAll(s, "\n-", ""), "\n", " ")) + " "
		s = applyCuts(applyCuts(applyCuts(s, westernCuts[:1]), terPossessive), westernCuts[1:])
	}
	if t.NoPunct {
		s = terPunctuation.ReplaceAllString(s, "")
	}
	return pytext.Fields(s)
}

// terEdits is the number of edits that turn hyp into ref: shifts, as long as one makes the edit distance shorter, and that distance.
func terEdits(hyp, ref []string) int {
	if len(ref) == 0 {
		return len(hyp)
	}
	shifts, checked := 0, 0
	for {
		gain, next := terShift(hyp, ref, &checked)
		if checked >= terCandidates || gain <= 0 {
			break
		}
		shifts++
		hyp = next
	}
	d, _ := terDistance(hyp, ref)
	return shifts + d
}

// terShift finds the shift that gains most; of equal ones that of most words, then from the earliest place, then to the earliest.
func terShift(hyp, ref []string, checked *int) (gain int, words []string) {
	before, trace := terDistance(hyp, ref)
	align, refErr, hypErr := terAlign(trace)
	var best [4]int
	for h := range hyp {
		for r := range ref {
			if d := r - h; d > terShiftDist || -d > terShiftDist {
				continue
			}
			for n := 1; n <= terShiftSize && h+n <= len(hyp) && r+n <= len(ref) && hyp[h+n-1] == ref[r+n-1]; n++ {
				// Both must be wrong where they are, and a shift must lead out of the words themselves.
				if !slices.Contains(hypErr[h:h+n], true) || !slices.Contains(refErr[r:r+n], true) || h <= align[r] && align[r] < h+n {
					continue
				}
				last := -1
				for at := r - 1; at < r+n; at++ {
					to := 0
					if at >= 0 {
						to = align[at] + 1
					}
					if to == last {
						continue
					}
					last = to
					moved := terMove(hyp, h, n, to)
					after, _ := terDistance(moved, ref)
					*checked++
					if c := [4]int{before - after, n, -h, -to}; words == nil || slices.Compare(c[:], best[:]) > 0 {
						best, words = c, moved
					}
				}
				if *checked >= terCandidates {
					return best[0], words
				}
			}
		}
	}
	if words == nil {
		return 0, hyp
	}
	return best[0], words
}

// terMove puts the n words from start before the word that is now at target.
func terMove(w []string, start, n, target int) []string {
	switch {
	case target < start:
		return slices.Concat(w[:target], w[start:start+n], w[target:start], w[start+n:])
	case target > start+n:
		return slices.Concat(w[:start], w[start+n:target], w[start:start+n], w[target:])
	}
	end := min(n+target, len(w)) // within the moved words
	return slices.Concat(w[:start], w[start+n:end], w[start:start+n], w[end:])
}

// Edit operations on the hypothesis.
const (
	terNone = ' '
	terSub  = 's'
	terIns  = 'i' // a word of the reference is inserted
	terDel  = 'd'
)

// terDistance is the edit distance and its operations, within a beam about the diagonal, as Tercom searches.
func terDistance(hyp, ref []string) (int, []byte) {
	type cell struct {
		cost int
		op   byte
	}
	const unreached = 1 << 40
	ratio, beam := 1.0, terBeam
	if len(hyp) > 0 {
		ratio = float64(len(ref)) / float64(len(hyp))
	}
	if terBeam < ratio/2 {
		beam = int(math.Ceil(ratio/2 + terBeam))
	}
	width := len(ref) + 1
	dist := make([]cell, (len(hyp)+1)*width)
	for i := range dist {
		dist[i] = cell{unreached, terSub}
		if i < width {
			dist[i] = cell{i, terIns}
		}
	}
	for i := 1; i <= len(hyp); i++ {
		up, row := dist[(i-1)*width:i*width], dist[i*width:(i+1)*width]
		diagonal := int(math.Floor(float64(i) * ratio))
		lo, hi := max(0, diagonal-beam), min(width, diagonal+beam)
		if i == len(hyp) {
			hi = width
		}
		for j := lo; j < hi; j++ {
			if j == 0 {
				row[0] = cell{up[0].cost + 1, terDel}
				continue
			}
			sub := cell{up[j-1].cost + 1, terSub}
			if hyp[i-1] == ref[j-1] {
				sub = cell{up[j-1].cost, terNone}
			}
			for _, c := range []cell{sub, {up[j].cost + 1, terDel}, {row[j-1].cost + 1, terIns}} {
				if c.cost < row[j].cost {
					row[j] = c
				}
			}
		}
	}
	var trace []byte
	for i, j := len(hyp), len(ref); i > 0 || j > 0; {
		op := dist[i*width+j].op
		trace = append(trace, op)
		if op != terIns {
			i--
		}
		if op != terDel {
			j--
		}
	}
	slices.Reverse(trace)
	return dist[len(dist)-1].cost, trace
}

// terAlign tells for each word of the reference the place in the hypothesis, -1 before its beginning, and which words of each are wrong.
func terAlign(trace []byte) (align []int, refErr, hypErr []bool) {
	at := -1
	for _, op := range trace {
		wrong := op != terNone
		if op != terIns {
			at++
			hypErr = append(hypErr, wrong)
		}
		if op != terDel {
			align = append(align, at)
			refErr = append(refErr, wrong)
		}
	}
	return align, refErr, hypErr
}
