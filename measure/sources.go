package measure

import (
	"context"
	"maps"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/train"
)

// SourceScore is a model's score on the held-out text of a named source, such as a language.
type SourceScore struct {
	Name  string          `json:"name"`
	Score *evaluate.Score `json:"score,omitempty"`
	// OnAnswers: the score is on completions alone.
	OnAnswers bool `json:"on_answers,omitempty"`
	// Translation is of generated completions; nil for plain text.
	Translation *Translation `json:"translation,omitempty"`
}

// Title is the source's name, and that its score is on completions alone.
func (s *SourceScore) Title() string {
	if s.OnAnswers {
		return s.Name + " (completions)"
	}
	return s.Name
}

// originNames are the named sources that held-out text is of, in their order.
func (in *Input) originNames() []string {
	seen := map[string]bool{}
	for _, n := range in.Origins {
		seen[n] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// scoreSources scores each named source by itself, on at most max_sequences full sequences of its tokens. Documents are isolated, so that
// what stands beside one changes nothing.
func (in *Input) scoreSources(ctx context.Context, s evaluate.Scorer, shards []string) ([]*scored, error) {
	tk, _, err := in.Model.Text()
	if err != nil {
		return nil, err
	}
	limit := in.Config.MaxSequences * in.SequenceLength
	var sums []*scored
	for _, name := range in.originNames() {
		sums = append(sums, &scored{Name: name})
	}
	return sums, in.eachBatch(ctx, shards, 0, func(seqs []datasets.Sequence) error {
		for _, sum := range sums {
			var own []datasets.Sequence
			for i := range seqs {
				q := seqs[i].Pick(func(k int) bool { return in.Origins[seqs[i].Sources[k]] == sum.Name })
				if len(q.InputIDs) == 0 || limit > 0 && sum.Seen >= limit {
					continue
				}
				sum.read(&q, tk.Decode(q.InputIDs, true))
				own = append(own, q)
			}
			if len(own) == 0 {
				continue
			}
			nll, tokens, err := s.NLL(own)
			if err != nil {
				return err
			}
			sum.NLL, sum.Tokens = sum.NLL+nll, sum.Tokens+tokens
		}
		return nil
	})
}

// sources are the scores of the named sources, and that of all of them together.
func (in *Input) sources(of func(name string) *scored) (all *evaluate.Score, out []SourceScore) {
	var whole scored
	for _, name := range in.originNames() {
		sum := of(name)
		if sum == nil || sum.Seen == 0 {
			none := evaluate.NoScore("no token of its held-out records has a loss: none is held out, or all were rejected")
			out = append(out, SourceScore{Name: name, Score: &none})
			continue
		}
		out = append(out, SourceScore{Name: name, OnAnswers: sum.onAnswers(), Score: sum.score()})
		whole.NLL, whole.Tokens = whole.NLL+sum.NLL, whole.Tokens+sum.Tokens
	}
	if whole.Tokens > 0 {
		all = whole.score()
	}
	return all, out
}

// apart says whether the named sources of the domain are scored apart: there are some, and the documents are isolated.
func (in *Input) apart() (bool, error) {
	if len(in.Origins) == 0 || len(in.Domain.Shards) == 0 {
		return false, nil
	}
	return isolated(in.Domain.Shards)
}

// isolated says whether the documents of held-out sequences are apart, so that those of a source can be taken out.
func isolated(shards []string) (bool, error) {
	for _, s := range shards {
		data, err := train.OpenShards([]string{s})
		if err != nil {
			return false, err
		}
		q, err := data.Sequence(0)
		data.Close()
		if err != nil || len(q.DocIDs) != len(q.DocStarts) {
			return false, err
		}
	}
	return true, nil
}

// SourceChange is a named source's score before and after training.
type SourceChange struct {
	Name        string             `json:"name"`
	OnAnswers   bool               `json:"on_answers,omitempty"`
	Before      *evaluate.Score    `json:"before"`
	After       *evaluate.Score    `json:"after"`
	Translation *TranslationChange `json:"translation,omitempty"`
}

// sourceChanges pairs the scores of before and after.
func sourceChanges(before, after *Results) (out []SourceChange) {
	for _, b := range before.Sources {
		i := slices.IndexFunc(after.Sources, func(a SourceScore) bool { return a.Name == b.Name })
		if i < 0 {
			continue
		}
		a := after.Sources[i]
		c := SourceChange{Name: b.Name, OnAnswers: b.OnAnswers, Before: b.Score, After: a.Score}
		if b.Translation != nil && a.Translation != nil {
			c.Translation = &TranslationChange{b.Translation, a.Translation}
		}
		out = append(out, c)
	}
	return out
}
