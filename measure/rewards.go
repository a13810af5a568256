package measure

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/rewards"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/train/preference"
)

// rewardCache is the memory of the KV cache of answers.
const rewardCache = 256 << 20

// rewarded samples an answer to each held-out prompt, as training samples them, and scores it.
var rewarded = Measure{
	Name:  "rewards",
	Doc:   "the reward of answers to held-out prompts, sampled as in training",
	Title: func(*Results) string { return "rewards of answers to held-out prompts" },
	Columns: []Column{
		{Name: "reward", Format: "%.4f", Better: Higher},
		{Name: "tokens of an answer", Format: "%.1f", Show: Alone},
		{Name: "cut", Percent: true, Better: Lower},
	},
	When: func(in *Input) bool { return in.Objective.Samples() && len(in.Domain.Shards) > 0 },
	Run:  runRewards,
}

func runRewards(ctx context.Context, in *Input, out *Results) error {
	o, err := train.NewObjective(in.Objective.Objective, in.Objective.ObjectiveArgs)
	if err != nil {
		return err
	}
	a, ok := o.(train.Sampler)
	if !ok {
		return nil
	}
	r := a.Rollouts()
	if r.Unscored {
		return nil
	}
	var groups preference.Groups
	if x, ok := o.(train.Advantaged); ok {
		groups = x.Compared()
	}
	set, err := rewards.NewSet(r.RewardFuncs)
	if err != nil {
		return err
	}
	defer set.Close()
	if err := set.Open(rewards.Env{Model: in.Model.Dir}); err != nil {
		return err
	}
	prompts, err := train.ReadPrompts(in.Domain.Shards)
	if err != nil {
		return err
	}
	if n := in.Config.MaxSequences; n > 0 && len(prompts) > n {
		prompts = prompts[:n]
	}
	tk, _, err := in.Model.Text()
	if err != nil {
		return err
	}
	stop, err := in.Model.Stops()
	if err != nil {
		return err
	}
	var asks []infer.Ask
	for _, p := range prompts {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s\x00measure", p.DocID)
		most := min(r.MaxTokens, in.SequenceLength-len(p.IDs), in.Model.Positions()-len(p.IDs))
		asks = append(asks, infer.Ask{IDs: p.IDs, Draw: h.Sum64(), Most: max(1, most)})
	}
	given, err := in.Model.Answer(ctx, asks, infer.SamplingOf(&r, in.Seed), stop, rewardCache)
	if err != nil {
		return err
	}
	answers := make([]rewards.Answer, len(given))
	tokens, cut := 0, 0
	for i, g := range given {
		answers[i] = rewards.Answer{Prompt: tk.Decode(prompts[i].IDs, false), Completion: tk.Decode(g.IDs, true),
			Right: tk.Decode(prompts[i].Right, true), IDs: g.IDs,
			PromptIDs: prompts[i].IDs, Truncated: !g.Ended}
		if tokens += len(g.IDs); !g.Ended {
			cut++
		}
	}
	scored, err := set.Score(ctx, answers)
	if err != nil {
		return err
	}
	mean, _ := preference.Moments(groups.Totals(scored))
	n := float64(max(1, len(given)))
	of := fmt.Sprintf("of %d prompts", len(given))
	out.Add(in.Row, Line{Name: fmt.Sprintf("reward (of %d)", len(given)), Card: "reward", Of: of, Numbers: Numbers{"reward": mean,
		"tokens of an answer": float64(tokens) / n, "cut": float64(cut) / n}})
	for k, name := range set.Names {
		if len(set.Names) == 1 {
			break
		}
		one := make([]float64, len(scored))
		for i := range scored {
			one[i] = scored[i][k]
		}
		mean, _ := preference.Moments(one)
		out.Add(in.Row, Line{Name: name, Of: of, Numbers: Numbers{"reward": mean}})
	}
	if len(given) > 0 {
		in.shown = append(in.shown, Sample{answers[0].Prompt, answers[0].Completion})
	}
	return nil
}
