package train

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// Scorer computes losses without gradients: mean log-likelihoods, or another objective's.
type Scorer struct {
	prog *nn.Program
	cap  int
	goal goal
	coef []float32
}

// NewScorer compiles a program that scores up to tokens tokens at once.
func NewScorer(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, tokens int) (*Scorer, error) {
	return newScorer(w, adapters, params, p, tokens, newGoal(nil))
}

func newScorer(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, tokens int, r goal) (*Scorer, error) {
	prog, err := nn.Compile(w, adapters, params, nn.Options{Mode: nn.ModeScore, Pool: p,
		Caps: nn.Caps{T: tokens, S: tokens, N: max(nn.PromptOf(adapters).Documents(tokens, 1), r.spec.Group)}})
	if err != nil {
		return nil, err
	}
	return &Scorer{prog: prog, cap: tokens, goal: r}, nil
}

// NLL is the negative log-likelihood of the sequences, summed, and the number of tokens it is over.
func (s *Scorer) NLL(seqs []datasets.Sequence) (sum float64, tokens int, err error) {
	return s.SlotNLL(seqs, 0)
}

// SlotNLL is NLL with the adapter of a slot; -1 is the base alone, of adapters that can be segmented.
func (s *Scorer) SlotNLL(seqs []datasets.Sequence, slot int) (sum float64, tokens int, err error) {
	t, err := s.loss(seqs, slot)
	return t.loss, t.items, err
}

// loss is the objective's loss on the sequences, summed, what it is over, and the metrics.
func (s *Scorer) loss(seqs []datasets.Sequence, slot int) (out tally, err error) {
	for len(seqs) > 0 {
		n, used := 0, 0
		for n < len(seqs) && used+len(seqs[n].InputIDs) <= s.cap {
			used += len(seqs[n].InputIDs)
			n++
		}
		if n == 0 {
			return tally{}, fmt.Errorf("a sequence of %d tokens in a program for %d", len(seqs[0].InputIDs), s.cap)
		}
		batch := seqs[:n]
		b, err := s.goal.batch(batch)
		if err != nil {
			return tally{}, err
		}
		if slot != 0 {
			b.Step.Segments = []nn.Segment{{End: len(b.Step.Tokens), Slot: slot}}
		}
		for _, part := range s.goal.parts(b, s.prog, false) {
			if len(part.Step.Rows) == 0 {
				continue
			}
			if err := s.goal.prepare(part, &Pass{Slot: slot, prog: s.prog, ref: s.goal.ref}); err != nil {
				return tally{}, err
			}
			logp := s.prog.Forward(part.Step, false)
			if len(s.coef) < len(logp) {
				s.coef = make([]float32, s.cap)
			}
			items := s.goal.items(part, s.prog)
			sum := s.goal.judge(part, logp, items, s.coef[:len(logp)], &out.metrics)
			if math.IsNaN(sum) || math.IsInf(sum, 0) {
				return tally{}, fmt.Errorf("the model scores %g, which is not finite, on documents %v: %s",
					sum, docs(batch), s.prog.Why(part.Step, false))
			}
			out.loss += sum
			out.items += items
		}
		seqs = seqs[n:]
	}
	return out, nil
}

// Close frees the program.
func (s *Scorer) Close() { s.prog.Close() }
