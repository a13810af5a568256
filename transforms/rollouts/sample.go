package rollouts

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/rewards"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// CacheBytes is the memory of the KV cache of the answers that are sampled at a time, at most, unless one alone takes more.
const CacheBytes = 256 << 20

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
	if !o.Unscored {
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
	var own, taught drawn
	var rows []datasets.Rollout
	coin := philox.NewKey(job.Args.Seed, "lmbda", "")
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
			number := draw(p.DocID, step, k)
			given := philox.Uniform(coin.At(number, 0)[0]) < float32(o.Given.Share)
			ask := infer.Ask{IDs: p.IDs, Draw: number, Most: most}
			right := p.Right[:min(len(p.Right), most)]
			switch {
			case given && o.Given.Sampled:
				taught.add(len(rows), ask)
			case !given || len(right) == 1 && slices.Contains(stop, right[0]): // or the row has no answer
				own.add(len(rows), ask)
			}
			rows = append(rows, datasets.Rollout{Prompt: int32(p.Index), Sample: int32(k), DocID: p.DocID, PromptIDs: p.IDs,
				PromptText: tk.Decode(p.IDs, false), Right: tk.Decode(p.Right, true), Reward: math.NaN(),
				CompletionIDs: right, OldLogps: make([]float32, len(right))})
		}
	}
	sampling := infer.SamplingOf(&o.Rollouts, job.Args.Seed)
	if err := own.answer(ctx, m, sampling, stop, rows); err != nil {
		return nil, err
	}
	if len(taught.asks) > 0 {
		teacher, err := c.teacher(job, o)
		if err != nil {
			return nil, err
		}
		defer teacher.Close()
		if err := taught.answer(ctx, teacher, sampling, stop, rows); err != nil {
			return nil, err
		}
	}
	answers := make([]rewards.Answer, len(rows))
	for i := range rows {
		x := &rows[i]
		x.Completion = tk.Decode(x.CompletionIDs, true)
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

// drawn are answers that a model samples.
type drawn struct {
	asks []infer.Ask
	rows []int // whose they are
}

func (d *drawn) add(row int, a infer.Ask) { d.asks, d.rows = append(d.asks, a), append(d.rows, row) }

// answer samples them.
func (d *drawn) answer(ctx context.Context, m *infer.Model, s evaluate.Sampling, stop []int32, rows []datasets.Rollout) error {
	given, err := m.Answer(ctx, d.asks, s, stop, CacheBytes)
	if err != nil {
		return err
	}
	for i, g := range given {
		x := &rows[d.rows[i]]
		x.CompletionIDs, x.OldLogps, x.Truncated = g.IDs, g.LogProbs, !g.Ended
	}
	return nil
}

// teacher is the model that samples in place of the one that learns: the teacher's adapter over the base, the base, or another model.
func (c *Config) teacher(job *core.Job, o *core.Online) (*infer.Model, error) {
	dir := job.Model
	if len(job.Teachers) > 0 {
		dir = job.Teachers[0]
	}
	b, err := infer.Hold(dir, job.DType, o.Given.Teacher)
	if err != nil {
		return nil, fmt.Errorf("the teacher: %w", err)
	}
	defer b.Close()
	m, err := b.With(o.Given.Teacher)
	if err != nil {
		return nil, fmt.Errorf("the teacher: %w", err)
	}
	return m, nil
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
	ref, err := m.Likely(ctx, prompts, answers, s.Online.Temperature, base, CacheBytes)
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
