package tokenize

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// answers encodes a prompt with the answers to it that are compared, one after another, each with the prompt before it, as TRL's trainers
// of preferences do. Of a document of more than MaxLength tokens the end is cut off.
func (e *rowEncoder) answers(row *datasets.Row) (*chat.Tokens, error) {
	raw := []json.RawMessage{row.Completion}
	begins := []int32{datasets.NoLoss, datasets.NewAnswer}
	if row.Kind == datasets.KindPrompt {
		begins = begins[:1]
	} else if row.Margin != nil {
		begins[1] = datasets.MarginLabel(*row.Margin)
	}
	if row.Kind == datasets.KindUnpaired {
		begins = []int32{datasets.DesirableAnswer, datasets.UndesirableAnswer}
		if row.Desirable != nil && !*row.Desirable {
			begins = begins[1:]
		}
	}
	if len(row.Rejected) > 0 {
		raw = append(raw, row.Rejected)
	}
	a, err := e.parts(row, raw)
	if err != nil {
		return nil, err
	}
	limit := fmt.Sprintf("max_length %d", e.max)
	if len(a.Prompt) >= e.max {
		return nil, &rowError{reason: datasets.ReasonLongPrompt, threshold: limit,
			err: fmt.Errorf("%d tokens of a prompt leave none for an answer", len(a.Prompt))}
	}
	out := &chat.Tokens{}
	for i, ids := range a.Answers {
		whole := len(ids)
		if row.Kind == datasets.KindPrompt && len(a.Prompt)+len(ids) > e.max {
			return nil, &rowError{reason: datasets.ReasonLongPrompt, threshold: limit,
				err: fmt.Errorf("%d tokens of a prompt with a right answer of %d", len(a.Prompt), len(ids))}
		}
		ids = ids[:min(len(ids), e.max-len(a.Prompt))]
		out.Cut += whole - len(ids)
		if len(ids) == 0 || len(a.Prompt)+len(ids) < 2 {
			return nil, &rowError{reason: datasets.ReasonNoAnswer,
				err: fmt.Errorf("answer %d has no token that something stands before", i+1)}
		}
		if i > 0 && slices.Equal(ids, a.Answers[0][:min(len(a.Answers[0]), e.max-len(a.Prompt))]) {
			return nil, &rowError{reason: datasets.ReasonEqualAnswers, threshold: limit,
				err: fmt.Errorf("the answers have the same %d tokens", len(ids))}
		}
		at := len(out.IDs)
		out.IDs = append(append(out.IDs, a.Prompt...), ids...)
		for range a.Prompt {
			out.Labels = append(out.Labels, datasets.NoLoss)
		}
		out.Labels = append(out.Labels, ids...)
		out.Labels[at] = begins[i]
	}
	out.Spans = make([][2]int32, len(out.IDs))
	return out, nil
}

// parts are the token ids of a prompt and of answers, texts or lists of messages.
func (e *rowEncoder) parts(row *datasets.Row, raw []json.RawMessage) (*chat.Answers, error) {
	if isText(row.Prompt) && !e.apply {
		var texts [3]string
		for i, x := range append([]json.RawMessage{row.Prompt}, raw...) {
			if err := json.Unmarshal(x, &texts[i]); err != nil {
				return nil, &rowError{reason: datasets.ReasonWrongRow, err: err}
			}
		}
		return chat.PlainAnswers(e.t, texts[0], texts[1:1+len(raw)])
	}
	prompt := row.Prompt
	if isText(prompt) { // a turn of the user, and one of the assistant
		prompt = turn("user", prompt)
		for i := range raw {
			raw[i] = turn("assistant", raw[i])
		}
	}
	t, err := e.templates.Pick("", len(row.Tools) > 0)
	if err != nil {
		return nil, err
	}
	a, err := t.Answers(e.t, prompt, raw, chat.Conversation{Tools: row.Tools, Kwargs: row.Kwargs})
	if err != nil {
		_, err = refused(nil, err)
	}
	return a, err
}

// turn is a list of one message.
func turn(role string, content json.RawMessage) json.RawMessage {
	b, err := json.Marshal([]map[string]json.RawMessage{{"role": json.RawMessage(`"` + role + `"`), "content": content}})
	if err != nil {
		panic(fmt.Sprintf("tokenize: a text cannot be written: %v", err))
	}
	return b
}
