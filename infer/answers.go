package infer

import (
	"context"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train"
)

// SamplingOf is how an objective has answers sampled.
func SamplingOf(r *train.Rollouts, seed uint64) evaluate.Sampling {
	return evaluate.Sampling{DoSample: true, Temperature: r.Temperature, TopK: r.TopK, TopP: r.TopP, MinP: r.MinP,
		RepetitionPenalty: r.RepetitionPenalty, Seed: seed}
}

// Ask is a prompt of tokens that an answer is sampled to.
type Ask struct {
	IDs []int32
	// Draw numbers the random numbers of the answer: the same prompt, settings, seed and number give the same answer, whatever else is
	// asked.
	Draw uint64
	// Most is the number of tokens of an answer, at most.
	Most int
}

// Given is an answer.
type Given struct {
	IDs      []int32
	LogProbs []float32 // the natural logarithms of its tokens' probabilities, as the model gives them at the temperature of the sampling
	Ended    bool      // its last token ends it; else it was cut
}

// atOnce is how many answers are sampled at a time, at most.
const atOnce = 64

// batch makes a program for so many sequences of a length at a time, or for as many as a KV cache of so many bytes holds, one at least.
func (m *Model) batch(longest, n int, cache int64) (*evaluate.Batch, error) {
	size, _, err := m.sized(longest, n, cache)
	if err != nil {
		return nil, err
	}
	return evaluate.NewBatch(m.Base, m.Adapters, m.Params, m.Pool, m.Base.Config.Vocab, size)
}

// PlanAnswers is the memory that [Model.Answer] takes beside the model for n prompts of which the longest has, with its answer, so many
// tokens.
func (m *Model) PlanAnswers(longest, n int, cache int64) (nn.Memory, error) {
	_, plan, err := m.sized(longest, n, cache)
	plan.Params = 0 // which are the model's
	return plan, err
}

// sized is how much is answered at a time, and the memory of that.
func (m *Model) sized(longest, n int, cache int64) (size evaluate.BatchSize, plan nn.Memory, err error) {
	size = evaluate.BatchSize{Context: min(m.Positions(), longest), Cache: m.CacheDType}
	for n = max(1, min(n, atOnce)); ; n /= 2 {
		size.Sequences, size.Rows = n, n*size.Context
		plan, err = evaluate.PlanBatch(m.Base, m.Adapters, m.Params, m.Pool, m.Base.Config.Vocab, size)
		if err != nil || n == 1 || plan.State <= cache {
			return size, plan, err
		}
	}
}

// Answer samples an answer to each prompt, until one of stop or its longest, with as many at a time as a KV cache of so many bytes holds.
func (m *Model) Answer(ctx context.Context, asks []Ask, s evaluate.Sampling, stop []int32, cache int64) ([]Given, error) {
	out := make([]Given, len(asks))
	var qs []*evaluate.Sequence
	longest := 1
	for i, a := range asks {
		s.MaxNewTokens = a.Most
		qs = append(qs, &evaluate.Sequence{Prompt: a.IDs, Sampling: s, End: stop, Slot: m.slot, Draw: a.Draw, Heat: s.Temperature})
		longest = max(longest, len(a.IDs)+a.Most)
		if len(a.IDs)+a.Most > m.Positions() || a.Most < 1 {
			return nil, fmt.Errorf("prompt %d has %d tokens, its answer %d at most, and the model %d positions", i+1, len(a.IDs), a.Most,
				m.Positions())
		}
	}
	return out, m.tell(ctx, qs, longest, cache, func(i int, t evaluate.Said) {
		g := &out[i]
		g.IDs, g.LogProbs = append(g.IDs, t.ID), append(g.LogProbs, float32(t.LogProb))
		g.Ended = t.Ended
	})
}

// Likely is log p of the tokens of answers given their prompts, with logits divided by a temperature, by the base with its adapters off
// where base says so.
func (m *Model) Likely(ctx context.Context, prompts, answers [][]int32, temperature float64, base bool, cache int64) ([][]float32, error) {
	out := make([][]float32, len(answers))
	var qs []*evaluate.Sequence
	longest := 1
	for i := range answers {
		q := &evaluate.Sequence{Prompt: slices.Concat(prompts[i], answers[i]), Slot: m.slot, Echo: true, Heat: temperature}
		if base {
			q.Slot = -1
		}
		qs = append(qs, q)
		longest = max(longest, len(q.Prompt))
	}
	return out, m.tell(ctx, qs, longest, cache, func(i int, t evaluate.Said) {
		if t.Place >= len(prompts[i]) {
			out[i] = append(out[i], float32(t.LogProb))
		}
	})
}

// tell runs sequences, as many at a time as there is room for, and tells what each says.
func (m *Model) tell(ctx context.Context, qs []*evaluate.Sequence, longest int, cache int64, told func(i int, t evaluate.Said)) error {
	if len(qs) == 0 {
		return nil
	}
	b, err := m.batch(longest, len(qs), cache)
	if err != nil {
		return err
	}
	defer b.Close()
	at := map[*evaluate.Sequence]int{}
	for i, q := range qs {
		if at[q] = i; b.Check(q) != nil {
			return fmt.Errorf("prompt %d: %w", i+1, b.Check(q))
		}
	}
	for next := 0; ; {
		for next < len(qs) && b.Join(qs[next]) {
			next++
		}
		if live, _ := b.Live(); live == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		var failed error
		b.Step(func(q *evaluate.Sequence, t evaluate.Said) {
			switch {
			case t.Err != nil:
				failed = fmt.Errorf("prompt %d: %w", at[q]+1, t.Err)
			case t.ID >= 0:
				told(at[q], t)
			}
		})
		if failed != nil {
			return failed
		}
	}
}
