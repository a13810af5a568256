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

// sourceSum is what has been scored of a named source.
type sourceSum struct {
	nll                        float64
	tokens, seen, silent, docs int // predicted tokens, input tokens, those without a loss, documents
	text                       evaluate.Text
}

// scoreSources scores each named source by itself, on at most max_sequences full sequences of its tokens, and all of them
// together. Documents are isolated, so that what stands beside one changes nothing.
func (in *Input) scoreSources(ctx context.Context, s evaluate.Scorer) (all *evaluate.Score, out []SourceScore, err error) {
	tk, _, err := in.Model.Text()
	if err != nil {
		return nil, nil, err
	}
	limit := in.Config.MaxSequences * in.SequenceLength
	names, sums := in.originNames(), map[string]*sourceSum{}
	for _, name := range names {
		sums[name] = &sourceSum{}
	}
	if err := in.eachBatch(ctx, in.Domain.Shards, 0, func(seqs []datasets.Sequence) error {
		for _, name := range names {
			sum := sums[name]
			var own []datasets.Sequence
			for i := range seqs {
				q := seqs[i].Pick(func(k int) bool { return in.Origins[seqs[i].Sources[k]] == name })
				if len(q.InputIDs) == 0 || limit > 0 && sum.seen >= limit {
					continue
				}
				sum.seen, sum.docs = sum.seen+len(q.InputIDs), sum.docs+len(q.DocStarts)
				sum.silent += len(q.Labels) - q.Supervised()
				c := evaluate.CountText(tk.Decode(q.InputIDs, true))
				sum.text.Words, sum.text.Bytes = sum.text.Words+c.Words, sum.text.Bytes+c.Bytes
				own = append(own, q)
			}
			if len(own) == 0 {
				continue
			}
			nll, tokens, err := s.NLL(own)
			if err != nil {
				return err
			}
			sum.nll, sum.tokens = sum.nll+nll, sum.tokens+tokens
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	var whole sourceSum
	for _, name := range names {
		sum := sums[name]
		if sum.seen == 0 {
			none := evaluate.NoScore("no token of its held-out records has a loss: none is held out, or all were rejected")
			out = append(out, SourceScore{Name: name, Score: &none})
			continue
		}
		x := SourceScore{Name: name, OnAnswers: sum.silent > sum.docs}
		if x.OnAnswers { // the size of prompts says nothing
			sum.text = evaluate.Text{}
		}
		score := evaluate.NewScore(sum.nll, sum.tokens, sum.text)
		x.Score = &score
		out = append(out, x)
		whole.nll, whole.tokens = whole.nll+sum.nll, whole.tokens+sum.tokens
	}
	if whole.tokens > 0 {
		score := evaluate.NewScore(whole.nll, whole.tokens, evaluate.Text{})
		all = &score
	}
	return all, out, nil
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
