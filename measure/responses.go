package measure

import (
	"context"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train"
)

// responses has the model answer held-out prompts of a training on answers that are compared. Answers are drawn, so that the mean of log p
// less that of the base is an estimate of the divergence. A reward model compares them with the chosen answers.
var responses = Measure{
	Name:  "responses",
	Doc:   "what became of sampled answers: their length, their divergence from the base, and how often a reward model prefers them",
	Title: func(*Results) string { return "sampled answers" },
	Columns: []Column{
		{Name: "win rate", Better: Higher, Percent: true},
		{Name: "reward", Format: "%.4f", Better: Higher},
		{Name: "kl", Format: "%.3f", Better: Lower},
		{Name: "completions/mean_length", Format: "%.1f", Better: Lower},
		{Name: "kl a token", Format: "%.4f", Better: Lower, Show: Folded},
	},
	When: func(in *Input) bool {
		return in.Config.Responses > 0 && in.Objective.Answers() != "" && !in.classifies() && len(in.Domain.Shards) > 0
	},
	Run: func(ctx context.Context, in *Input, out *Results) error {
		qs, err := in.compared(ctx, in.Config.Responses)
		if err != nil {
			return err
		}
		if len(qs) == 0 {
			in.say("no answer is sampled: no held-out prompt leaves room for max_new_tokens (%d)", in.Config.MaxNewTokens)
			return nil
		}
		n, err := in.respond(ctx, qs)
		if err == nil {
			out.Add(in.Row, Line{Numbers: n, Of: fmt.Sprintf("of %d prompts", len(qs))})
		}
		return err
	},
}

// compared are the first held-out prompts with their chosen, or desirable, answers, each prompt once.
func (in *Input) compared(ctx context.Context, limit int) (out []question, err error) {
	pairs := in.Objective.Answers() == datasets.KindPreference
	err = in.eachBatch(ctx, in.Domain.Shards, 0, func(seqs []datasets.Sequence) error {
		for i := range seqs {
			q := &seqs[i]
			for d := range q.DocStarts {
				from, to := q.Document(d)
				if pairs && d%2 == 1 || !pairs && q.Labels[from] != datasets.DesirableAnswer {
					continue
				}
				at := q.Answer(d)
				prompt := q.InputIDs[from:at]
				if at == to || len(prompt)+in.Config.MaxNewTokens > in.Model.Positions() ||
					slices.ContainsFunc(out, func(o question) bool { return slices.Equal(o.prompt, prompt) }) {
					continue
				}
				out = append(out, question{slices.Clone(prompt), slices.Clone(q.InputIDs[at:to])})
				if len(out) == limit {
					return errEnough
				}
			}
		}
		return nil
	})
	if err == errEnough {
		err = nil
	}
	return out, err
}

// respond samples an answer to each prompt and measures it.
func (in *Input) respond(ctx context.Context, qs []question) (Numbers, error) {
	stop, err := in.Model.Stops()
	if err != nil {
		return nil, err
	}
	var prompts [][]int32
	for _, q := range qs {
		prompts = append(prompts, q.prompt)
	}
	s := evaluate.Sampling{MaxNewTokens: in.Config.MaxNewTokens, DoSample: true, Temperature: 1, TopP: 1, RepetitionPenalty: 1,
		Seed: in.Seed} // as the model has them: else the mean is of other text
	said, err := in.Model.Complete(ctx, prompts, s, stop, answerCache, nil)
	if err != nil {
		return nil, fmt.Errorf("held-out prompts: %w", err)
	}
	tokens := 0
	texts := make([][]int32, len(qs))
	for i, ids := range said {
		tokens += len(ids)
		ended := len(ids) > 0 && slices.Contains(stop, ids[len(ids)-1])
		if end := in.Model.Base.Config.EOS; len(end) > 0 && len(ids) < s.MaxNewTokens && !ended {
			ids = append(slices.Clone(ids), end[0]) // the end, of which nothing is reported
		}
		texts[i] = slices.Concat(qs[i].prompt, ids)
	}
	n := Numbers{"completions/mean_length": float64(tokens) / float64(len(qs))}
	kl, scored, err := in.divergence(qs, texts)
	if err != nil {
		return nil, err
	}
	n["kl"], n["kl a token"] = kl/float64(len(qs)), kl/float64(max(1, scored))
	return n, in.wins(qs, texts, n)
}

// divergence is the sum over answers of log p less that of the base, and the number of tokens.
func (in *Input) divergence(qs []question, texts [][]int32) (sum float64, tokens int, err error) {
	m, longest := in.Model, 0
	for _, x := range texts {
		longest = max(longest, len(x))
	}
	none := nn.NewParams(1)
	defer none.Free()
	for _, by := range []struct {
		adapters []nn.Adapter
		params   *nn.Params
		sign     float64
	}{{m.Adapters, m.Params, -1}, {nil, none, 1}} {
		s, err := train.NewScorer(m.Base, by.adapters, by.params, m.Pool, longest)
		if err != nil {
			return 0, 0, err
		}
		defer s.Close()
		tokens = 0
		for i, x := range texts {
			q := datasets.Sequence{InputIDs: x, Labels: slices.Clone(x), DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(i)},
				Sources: []string{""}, DocSpans: [][2]int32{{}}}
			for k := range qs[i].prompt {
				q.Labels[k] = datasets.NoLoss
			}
			nll, n, err := s.NLL([]datasets.Sequence{q})
			if err != nil {
				return 0, 0, err
			}
			sum, tokens = sum+by.sign*nll, tokens+n
		}
	}
	return sum, tokens, nil
}

// wins has the reward model, where there is one, compare the answers with those that were chosen; equal rewards are half a win.
func (in *Input) wins(qs []question, texts [][]int32, n Numbers) error {
	folder := in.Config.RewardModel
	if folder == "" {
		return nil
	}
	judge, err := infer.Load(in.Model.Dir, "float32", folder)
	if err != nil {
		return fmt.Errorf("evaluate.reward_model: %w", err)
	}
	defer judge.Close()
	all := slices.Clone(texts)
	for _, q := range qs {
		all = append(all, slices.Concat(q.prompt, q.answer))
	}
	rewards, err := judge.RewardIDs(all...)
	if err != nil {
		return fmt.Errorf("evaluate.reward_model: %s: %w", folder, err)
	}
	sum, won := 0.0, 0.0
	for i := range qs {
		own, chosen := rewards[i], rewards[len(qs)+i]
		sum += float64(own)
		switch {
		case own > chosen:
			won++
		case own == chosen:
			won += 0.5
		}
	}
	n["reward"], n["win rate"] = sum/float64(len(qs)), won/float64(len(qs))
	return nil
}
