package pipelines

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	core "github.com/adaptflow/adaptflow/train"
)

// answerCache is the memory of the KV cache of the answers that an evaluation generates.
const answerCache = 32 << 20

// question is a held-out example: what stands before its last answer, and that answer with its end token.
type question struct {
	prompt, answer []int32
}

// questions takes the first limit examples that packed sequences hold whole, in their order; 0 takes all. length is the sequences' length: a document that fills one
// may have been cut. An answer is the last run of tokens that have a loss.
// of takes examples of some source files alone; nil takes all.
func questions(data core.Data, limit, length int, of func(source string) bool) ([]question, error) {
	pieces := map[string]int{}
	each := func(do func(q *datasets.Sequence, i, from, to int)) error {
		for n := range data.Len() {
			q, err := data.Sequence(n)
			if err != nil {
				return err
			}
			if len(q.DocIDs) != len(q.DocStarts) { // documents that are not isolated have no border
				continue
			}
			for i, from := range q.DocStarts {
				to := len(q.InputIDs)
				if i+1 < len(q.DocStarts) {
					to = int(q.DocStarts[i+1])
				}
				do(&q, i, int(from), to)
			}
		}
		return nil
	}
	if err := each(func(q *datasets.Sequence, i, _, _ int) { pieces[q.DocIDs[i]]++ }); err != nil {
		return nil, err
	}
	var out []question
	err := each(func(q *datasets.Sequence, i, from, to int) {
		if of != nil && !of(q.Sources[i]) || pieces[q.DocIDs[i]] > 1 || to-from >= length || limit > 0 && len(out) == limit {
			return
		}
		end := to
		for end > from && q.Labels[end-1] == datasets.NoLoss {
			end--
		}
		begin := end
		for begin > from && q.Labels[begin-1] != datasets.NoLoss {
			begin--
		}
		if begin > from+1 && end > begin { // a plain text has a loss from its second token on
			out = append(out, question{slices.Clone(q.InputIDs[from:begin]), slices.Clone(q.InputIDs[begin:end])})
		}
	})
	return out, err
}

// answer lets the model answer held-out questions and compares what it says with the right answers. It returns the first answer as a sample.
func (r *Run) answer(ctx context.Context, data core.Data, m *infer.Model) (*evaluate.Match, *Sample, error) {
	e := r.Recipe.Evaluate
	qs, err := questions(data, e.ExactMatch, r.Recipe.Prepare.SequenceLength, nil)
	if err != nil {
		return nil, nil, err
	}
	if len(qs) == 0 {
		r.say("exact match is not measured: no held-out row has a prompt and an answer within sequence_length (%d)", r.Recipe.Prepare.SequenceLength)
		return nil, nil, nil
	}
	got, want, err := r.complete(ctx, qs, m)
	if err != nil {
		return nil, nil, err
	}
	match, err := evaluate.NewMatch(got, want, e.AnswerDelimiter, e.AnswerMatch)
	if err != nil {
		return nil, nil, err
	}
	return &match, &Sample{r.tokenizer.Decode(qs[0].prompt, true), got[0]}, nil
}

// translate lets the model complete held-out prompts of a named source ("" for all) and scores the completions by chrF. It returns the first as a sample; nil where
// the source has no prompts. A right completion of one line is compared with the first line of a generated one, as few-shot harnesses cut what a base model says.
func (r *Run) translate(ctx context.Context, data core.Data, origins map[string]string, name string, m *infer.Model) (*Translation, *Sample, error) {
	of := func(source string) bool { return name == "" || origins[source] == name }
	qs, err := questions(data, r.Recipe.Evaluate.ChrF, r.Recipe.Prepare.SequenceLength, of)
	if err != nil || len(qs) == 0 {
		return nil, nil, err
	}
	got, want, err := r.complete(ctx, qs, m)
	if err != nil {
		return nil, nil, err
	}
	refs := make([][]string, len(want))
	for i, w := range want {
		w = strings.TrimSpace(w)
		if got[i] = strings.TrimSpace(got[i]); !strings.Contains(w, "\n") {
			got[i], _, _ = strings.Cut(got[i], "\n")
		}
		refs[i] = []string{w}
	}
	return &Translation{Pairs: len(qs), ChrF: evaluate.NewChrF().Corpus(got, refs), ChrFP: evaluate.NewChrFPlusPlus().Corpus(got, refs)},
		&Sample{r.tokenizer.Decode(qs[0].prompt, true), got[0]}, nil
}

// complete answers questions greedily, with a KV cache, and returns the answers and the right ones. An answer ends where the right ones do: at an end token of the
// model or a special token that is in them.
func (r *Run) complete(ctx context.Context, qs []question, m *infer.Model) (got, want []string, err error) {
	stop := slices.Clone(m.Base.Config.EOS)
	var prompts [][]int32
	for _, q := range qs {
		prompts = append(prompts, q.prompt)
		for _, id := range q.answer {
			if !slices.Contains(stop, id) && r.tokenizer.Decode([]int32{id}, true) == "" && r.tokenizer.Decode([]int32{id}, false) != "" {
				stop = append(stop, id)
			}
		}
	}
	answers, err := m.Complete(ctx, prompts, evaluate.Sampling{MaxNewTokens: r.Recipe.Evaluate.MaxNewTokens}, stop, answerCache, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("held-out questions: %w", err)
	}
	for i, q := range qs {
		got, want = append(got, r.tokenizer.Decode(answers[i], true)), append(want, r.tokenizer.Decode(q.answer, true))
	}
	return got, want, nil
}
