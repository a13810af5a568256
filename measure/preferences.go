package measure

import (
	"context"
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train"
)

// preferences has the objective that is learnt judge held-out answers: how often, and by how much, the better of two has the higher reward.
// Its numbers have TRL's names.
var preferences = Measure{
	Name:  "preferences",
	Doc:   "how often the better of two held-out answers gets the higher reward, of a reward model or of an objective over answers",
	Title: func(*Results) string { return "preferences (held-out)" },
	Columns: []Column{
		{Name: "accuracy", Better: Higher, Percent: true},
		{Name: "margin", Format: "%.4f", Better: Higher},
		{Name: "rewards/accuracies", Better: Higher, Percent: true},
		{Name: "rewards/margins", Format: "%.4f", Better: Higher},
		{Name: "loss", Format: "%.4f", Better: Lower},
		{Name: "rewards/chosen", Format: "%.4f", Better: Higher, Show: Folded},
		{Name: "rewards/rejected", Format: "%.4f", Better: Lower, Show: Folded},
		{Name: "logps/chosen", Format: "%.3f", Better: Higher, Show: Folded},
		{Name: "logps/rejected", Format: "%.3f", Better: Lower, Show: Folded},
		{Name: "nll_loss", Format: "%.4f", Better: Lower, Show: Folded},
		{Name: "log_odds_ratio", Format: "%.4f", Better: Higher, Show: Folded},
		{Name: "log_odds_chosen", Format: "%.4f", Better: Higher, Show: Folded},
		{Name: "mean_token_accuracy", Percent: true, Better: Higher, Show: Folded},
		{Name: "kl", Format: "%.4f", Show: Alone},
		{Name: "entropy", Format: "%.4f", Show: Alone},
		{Name: "mean_reward", Format: "%.4f", Show: Alone},
		{Name: "min_reward", Format: "%.4f", Show: Alone},
		{Name: "max_reward", Format: "%.4f", Show: Alone},
	},
	When: func(in *Input) bool {
		return in.Objective.Answers() != "" && !in.Objective.Samples() && len(in.Domain.Shards) > 0
	},
	Parts: func(in *Input) ([]Part, error) { return in.byShard(SetDomain) },
	Part:  func(ctx context.Context, in *Input, p Part) (any, error) { return in.judge(ctx, p) },
	Run: func(ctx context.Context, in *Input, out *Results) error {
		pieces, err := in.Pieces(ctx)
		if err != nil {
			return err
		}
		sum := &judged{}
		for _, p := range pieces {
			part, err := found[*judged](p)
			if err != nil {
				return err
			}
			sum.Names = part.Names
			sum.Add(&part.Judged)
		}
		if sum.Items > 0 {
			out.Add(in.Row, sum.line(in.Row, in.Objective.Answers()))
		}
		return nil
	},
}

// judged is what was found of a part.
type judged struct {
	Names []string `json:"names"` // of the metrics
	train.Judged
}

// judge judges the answers of a part.
func (in *Input) judge(ctx context.Context, p Part) (*judged, error) {
	m := in.Model
	j, err := train.NewJudge(m.Base, in.Objective, m.Adapters, m.Params, in.Start, m.Pool, max(in.Config.BatchSize, 1)*in.SequenceLength)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	shards, err := in.shards(p)
	if err != nil {
		return nil, err
	}
	sum := &judged{Names: j.Metrics()}
	return sum, in.eachBatch(ctx, shards, p.Limit, func(seqs []datasets.Sequence) error { return j.Add(seqs, &sum.Judged) })
}

// line are the means that the table has columns for.
func (s *judged) line(m *Measure, kind string) Line {
	what := "pairs"
	if kind == datasets.KindUnpaired {
		what = "answers"
	}
	n := Numbers{"loss": s.Loss / float64(s.Items)}
	for i, x := range s.Metrics {
		for _, c := range m.Columns {
			if c.Name == s.Names[i] && x.N > 0 {
				n[c.Name] = x.Sum / float64(x.N)
			}
		}
	}
	return Line{Numbers: n, Of: fmt.Sprintf("of %d %s", s.Items, what)}
}
