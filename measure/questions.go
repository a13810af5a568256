package measure

import (
	"context"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/train"
)

// answerCache is the memory of the KV cache of the answers that are generated.
const answerCache = 32 << 20

// question is a held-out example: what stands before its last answer, and that answer with its end token.
type question struct {
	prompt, answer []int32
}

// questions takes the first limit examples that packed sequences hold whole, in their order; 0 takes all. length is the
// sequences' length: a document that fills one may have been cut. An answer is the last run of tokens that have a loss. of
// takes examples of some source files alone; nil takes all.
func questions(data train.Data, limit, length int, of func(source string) bool) ([]question, error) {
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

// complete answers questions greedily, with a KV cache, and returns the answers and the right ones. An answer ends where the
// right ones do: at an end token of the model or a special token that is in them.
func (in *Input) complete(ctx context.Context, qs []question) (got, want []string, err error) {
	tk, _, err := in.Model.Text()
	if err != nil {
		return nil, nil, err
	}
	stop := slices.Clone(in.Model.Base.Config.EOS)
	var prompts [][]int32
	for _, q := range qs {
		prompts = append(prompts, q.prompt)
		for _, id := range q.answer {
			if !slices.Contains(stop, id) && tk.Decode([]int32{id}, true) == "" && tk.Decode([]int32{id}, false) != "" {
				stop = append(stop, id)
			}
		}
	}
	answers, err := in.Model.Complete(ctx, prompts, evaluate.Sampling{MaxNewTokens: in.Config.MaxNewTokens}, stop, answerCache, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("held-out questions: %w", err)
	}
	for i, q := range qs {
		got, want = append(got, tk.Decode(answers[i], true)), append(want, tk.Decode(q.answer, true))
	}
	return got, want, nil
}
