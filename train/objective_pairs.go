package train

import (
	"github.com/adaptflow/adaptflow/train/preference"
)

// answer is what a document counts, with a weight of each token of its answer, nil for 1. LogP and Reference of a batch are over the tokens
// of answers; those of its prompt, where they are supervised, are part of the text alone.
func (b *Batch) answer(doc int, weight func(i int) float64) (a preference.Answer) {
	first, to := b.Rows(doc)
	from, _ := b.Answer(doc)
	for i := first; i < to; i++ {
		a.Text += float64(b.LogP[i])
		if i < from {
			continue
		}
		w := 1.0
		if weight != nil {
			w = weight(i - from)
		}
		a.LogP += w * float64(b.LogP[i])
		if b.Reference != nil {
			a.Ref += w * float64(b.Reference[i])
		}
	}
	a.N, a.TextN = to-from, to-first
	return a
}

// pairs are the pairs of a batch, the chosen answer of each before the rejected one.
func (b *Batch) pairs(weight func(i, shared int) float64) []preference.Pair {
	out := make([]preference.Pair, b.Docs()/2)
	for i := range out {
		shared := b.shared(i)
		w := func(k int) float64 { return weight(k, shared) }
		if weight == nil {
			w = nil
		}
		out[i] = preference.Pair{Chosen: b.answer(2*i, w), Rejected: b.answer(2*i+1, w), Weight: 1}
	}
	return out
}

// shared is the length of the shorter answer of a pair.
func (b *Batch) shared(pair int) int {
	c0, c1 := b.Answer(2 * pair)
	r0, r1 := b.Answer(2*pair + 1)
	return min(c1-c0, r1-r0)
}

// spread adds a pair's derivatives to the coefficients of its tokens.
func (b *Batch) spread(pair int, g *preference.Grad, items int, weight func(i, shared int) float64, coef []float32) {
	shared := b.shared(pair)
	for k, slope := range []float64{g.Chosen, g.Rejected} {
		first, to := b.Rows(2*pair + k)
		from, _ := b.Answer(2*pair + k)
		for i := first; i < to; i++ {
			x := 0.0
			if k == 0 {
				x = g.Text
			}
			switch {
			case i < from:
			case weight == nil:
				x += slope
			default:
				x += slope * weight(i-from, shared)
			}
			coef[i] = float32(x / float64(items))
		}
	}
}

// sums adds the losses of pairs and spreads their derivatives.
func (b *Batch) sums(grads []preference.Grad, items int, weight func(i, shared int) float64, coef []float32) (sum float64) {
	for i := range grads {
		sum += grads[i].Loss
		b.spread(i, &grads[i], items, weight, coef)
	}
	return sum
}

// note is what a Measurer notes with.
type note = func(metric string, sum float64, n int)

// pairMetrics are those of every objective over pairs; TRL's are means over the pairs of a batch, or over its tokens.
var pairMetrics = []string{"rewards/chosen", "rewards/rejected", "rewards/accuracies", "rewards/margins", "logps/chosen", "logps/rejected",
	"logits/chosen", "logits/rejected"}

// measurePairs notes the rewards of pairs and the sums, or what else is given, of their log-probabilities.
func (b *Batch) measurePairs(pairs []preference.Pair, rewards func(p *preference.Pair) (c, r float64),
	logp func(a *preference.Answer) float64, note note) {
	for i := range pairs {
		p := &pairs[i]
		c, r := rewards(p)
		noteRewards(c, r, note)
		note("logps/chosen", logp(&p.Chosen), 1)
		note("logps/rejected", logp(&p.Rejected), 1)
	}
	b.tokenMean("logits/chosen", b.Step.Stats.MeanLogit, func(doc int) bool { return doc%2 == 0 }, len(pairs), note)
	b.tokenMean("logits/rejected", b.Step.Stats.MeanLogit, func(doc int) bool { return doc%2 == 1 }, len(pairs), note)
}

// noteRewards notes the rewards of a pair's answers.
func noteRewards(chosen, rejected float64, note note) {
	right := 0.0
	if chosen > rejected {
		right = 1
	}
	note("rewards/chosen", chosen, 1)
	note("rewards/rejected", rejected, 1)
	note("rewards/accuracies", right, 1)
	note("rewards/margins", chosen-rejected, 1)
}

// tokenMean notes the mean of a number of each answer's tokens, those of the documents that are taken, once for each of n examples: as in
// TRL, the metric of a step is the mean of its micro-batches' means.
func (b *Batch) tokenMean(metric string, x []float32, take func(doc int) bool, n int, note note) {
	sum, tokens := 0.0, 0
	for d := range b.Docs() {
		if !take(d) {
			continue
		}
		from, to := b.Answer(d)
		for _, v := range x[from:to] {
			sum += float64(v)
		}
		tokens += to - from
	}
	if tokens > 0 {
		note(metric, sum/float64(tokens)*float64(n), n)
	}
}

// everyDoc takes all documents.
func everyDoc(int) bool { return true }
