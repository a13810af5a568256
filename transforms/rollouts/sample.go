package rollouts

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/rewards"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// cacheBytes is the memory of the KV cache of the answers that are sampled at a time.
const cacheBytes = 256 << 20

// draw numbers the random numbers of an answer: by the prompt, the round and which of its answers it is.
func draw(doc string, step, sample int) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%d\x00%d", doc, step, sample)
	return h.Sum64()
}

// sample samples and scores a part of the answers of the round that begins at a step.
func (c *Config) sample(ctx context.Context, s *core.Session, step, part int) ([]datasets.Rollout, error) {
	if err := s.AtStep(step); err != nil {
		return nil, err
	}
	dir, err := pulled.Folder(ctx, c.Tokenizer)
	if err != nil {
		return nil, err
	}
	tk, frame, err := tokenize.LoadTokenizer(dir, c.Engine, c.Ends, false)
	if err != nil {
		return nil, err
	}
	o, job := s.Online, s.Job()
	set := &rewards.Set{}
	if len(o.RewardFuncs) > 0 || !o.Unscored {
		if set, err = rewards.NewSet(o.RewardFuncs); err != nil {
			return nil, err
		}
	}
	defer set.Close()
	if err := set.Open(rewards.Env{Cache: c.kept(job), Model: job.Model, DType: job.DType}); err != nil {
		return nil, err
	}
	m := &infer.Model{Dir: job.Model, Base: s.Model, Adapter: s.Adapter, Adapters: []nn.Adapter{s.Adapter}, Params: s.Params(),
		Pool: s.Pool(), Tokenizer: tk, Frame: frame, Framed: true}
	stop, err := m.Stops()
	if err != nil {
		return nil, err
	}
	var asks []infer.Ask
	var rows []datasets.Rollout
	for _, p := range s.RoundPrompts(step) {
		if p.Index%c.Parts != part {
			continue
		}
		most := min(o.MaxTokens, min(job.SequenceLength/max(1, o.Documents), m.Positions())-len(p.IDs))
		if most < 1 {
			return nil, fmt.Errorf("the prompt %s has %d tokens, which leave none for an answer within sequence_length, %d, and the "+
				"model's %d positions", p.DocID, len(p.IDs), job.SequenceLength, m.Positions())
		}
		for k := range o.N {
			asks = append(asks, infer.Ask{IDs: p.IDs, Draw: draw(p.DocID, step, k), Most: most})
			rows = append(rows, datasets.Rollout{Prompt: int32(p.Index), Sample: int32(k), DocID: p.DocID, PromptIDs: p.IDs,
				PromptText: tk.Decode(p.IDs, false), Right: tk.Decode(p.Right, true), Reward: math.NaN()})
		}
	}
	given, err := m.Answer(ctx, asks, infer.SamplingOf(&o.Rollouts, job.Args.Seed), stop, cacheBytes)
	if err != nil {
		return nil, err
	}
	answers := make([]rewards.Answer, len(rows))
	for i, g := range given {
		x := &rows[i]
		x.CompletionIDs, x.OldLogps, x.Truncated, x.Completion = g.IDs, g.LogProbs, !g.Ended, tk.Decode(g.IDs, true)
		answers[i] = rewards.Answer{Prompt: x.PromptText, Completion: x.Completion, Right: x.Right, IDs: x.CompletionIDs,
			Truncated: x.Truncated, PromptIDs: x.PromptIDs}
	}
	scored, err := set.Score(ctx, answers)
	if err != nil {
		return nil, fmt.Errorf("the round from step %d: %w", step, err)
	}
	for i := range rows {
		rows[i].Rewards = scored[i]
	}
	if !o.Reference {
		return rows, nil
	}
	return rows, c.compare(ctx, s, m, step, rows)
}

// compare notes how likely the reference finds the answers: the base with the adapter off, or the adapter that training started from.
func (c *Config) compare(ctx context.Context, s *core.Session, m *infer.Model, step int, rows []datasets.Rollout) error {
	base := s.Job().InitAdapter == ""
	if !base {
		if err := s.AtStep(0); err != nil {
			return err
		}
	}
	prompts, answers := make([][]int32, len(rows)), make([][]int32, len(rows))
	for i := range rows {
		prompts[i], answers[i] = rows[i].PromptIDs, rows[i].CompletionIDs
	}
	ref, err := m.Likely(ctx, prompts, answers, s.Online.Temperature, base, cacheBytes)
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].RefLogps = ref[i]
	}
	if base {
		return nil
	}
	return s.AtStep(step)
}

// kept is where what others said of answers is kept.
func (c *Config) kept(job *core.Job) string {
	if job.Location != "" {
		return storage.Join(job.Location, "rewards")
	}
	return storage.Join(job.Dir, "rewards")
}
