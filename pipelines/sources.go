package pipelines

import (
	"context"
	"maps"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
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

// Translation is how generated completions agree with the right ones: sacrebleu's corpus scores, from 0 to 100.
type Translation struct {
	Pairs int     `json:"pairs"`
	ChrF  float64 `json:"chrf"`   // chrF2
	ChrFP float64 `json:"chrf++"` // chrF2++
}

// originNames are the named sources that held-out text is of, in their order.
func (d *Data) originNames() []string {
	seen := map[string]bool{}
	for _, n := range d.Origins {
		seen[n] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// of is the part of a sequence whose documents come from a source: its documents as they stand, one after another.
func of(q *datasets.Sequence, origins map[string]string, name string) (out datasets.Sequence, ok bool) {
	for i, from := range q.DocStarts {
		if origins[q.Sources[i]] != name {
			continue
		}
		to := len(q.InputIDs)
		if i+1 < len(q.DocStarts) {
			to = int(q.DocStarts[i+1])
		}
		out.DocStarts = append(out.DocStarts, int32(len(out.InputIDs)))
		out.InputIDs, out.Labels = append(out.InputIDs, q.InputIDs[from:to]...), append(out.Labels, q.Labels[from:to]...)
		out.DocIDs, out.DocSpans, out.Sources = append(out.DocIDs, q.DocIDs[i]), append(out.DocSpans, q.DocSpans[i]), append(out.Sources, q.Sources[i])
	}
	return out, len(out.InputIDs) > 0
}

// scoreSources scores each named source by itself, on at most max_sequences full sequences of its tokens, and all of them together. Documents are isolated,
// so that what stands beside one changes nothing.
func (r *Run) scoreSources(ctx context.Context, d *Data, s evaluate.Scorer) (all *evaluate.Score, out []SourceScore, err error) {
	e := r.Recipe.Evaluate
	var sumAll float64
	var tokensAll int
	for _, name := range d.originNames() {
		var sum float64
		var text evaluate.Text
		tokens, seen, silent, docs := 0, 0, 0, 0
		limit := e.MaxSequences * r.Recipe.Prepare.SequenceLength
		if err := eachBatch(ctx, d.Domain, 0, e.BatchSize, func(seqs []datasets.Sequence) error {
			var own []datasets.Sequence
			for i := range seqs {
				q, ok := of(&seqs[i], d.Origins, name)
				if !ok || limit > 0 && seen >= limit {
					continue
				}
				seen += len(q.InputIDs)
				silent, docs = silent+len(q.Labels)-q.Supervised(), docs+len(q.DocStarts)
				c := evaluate.CountText(r.tokenizer.Decode(q.InputIDs, true))
				text.Words, text.Bytes = text.Words+c.Words, text.Bytes+c.Bytes
				own = append(own, q)
			}
			if len(own) == 0 {
				return nil
			}
			a, b, err := s.NLL(own)
			sum, tokens = sum+a, tokens+b
			return err
		}); err != nil {
			return nil, nil, err
		}
		if tokens == 0 {
			continue
		}
		x := SourceScore{Name: name, OnAnswers: silent > docs}
		if x.OnAnswers { // the size of prompts says nothing
			text = evaluate.Text{}
		}
		score := evaluate.NewScore(sum, tokens, text)
		x.Score = &score
		out = append(out, x)
		sumAll, tokensAll = sumAll+sum, tokensAll+tokens
	}
	if tokensAll > 0 {
		score := evaluate.NewScore(sumAll, tokensAll, evaluate.Text{})
		all = &score
	}
	return all, out, nil
}

// isolated says whether the documents of held-out sequences are apart, so that those of a source can be taken out.
func isolated(shards []prepare.ShardRef) (bool, error) {
	for _, s := range shards {
		data, err := core.OpenShards([]string{s.Path})
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

// TranslationChange is the agreement of generated completions before and after training.
type TranslationChange struct {
	Before *Translation `json:"before"`
	After  *Translation `json:"after"`
}

// Title is the source's name, and that its score is on completions alone.
func (s *SourceChange) Title() string {
	if s.OnAnswers {
		return s.Name + " (completions)"
	}
	return s.Name
}

// sourceChanges pairs the scores of before and after.
func sourceChanges(before, after *Eval) (out []SourceChange) {
	for i, b := range before.Sources {
		if i >= len(after.Sources) || after.Sources[i].Name != b.Name {
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
