package serve

import (
	"context"
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

// Turn is what somebody says in a conversation: system, user or assistant.
type Turn = infer.Turn

// Talk has a voice answer a conversation by its chat template, until it ends, says one of stop, or has said s.MaxNewTokens tokens, as far
// as its context has room. each receives what is new of the text as it comes.
func Talk(ctx context.Context, e Engine, v *Voice, turns []Turn, s evaluate.Sampling, stop []string, each func(text string)) (
	string, error) {
	q := chatRequest{Settings: settings{Model: &v.Name, Stop: stop}}
	for _, t := range turns {
		text := content(t.Content)
		q.Messages = append(q.Messages, message{Role: t.Role, Content: &text})
	}
	ids, wrong := q.rendered(v)
	if wrong != nil {
		return "", wrong
	}
	if wrong := fits(v, len(ids), 1); wrong != nil {
		return "", wrong
	}
	s.MaxNewTokens = min(s.MaxNewTokens, v.Context-len(ids))
	answers, err := e.Start(&Ask{v, evaluate.Sequence{Prompt: ids, Sampling: s, End: v.End, LogProbs: -1, Owner: "talk"}})
	if err != nil {
		return "", err
	}
	c := &choice{ask: &Ask{Voice: v, Sequence: evaluate.Sequence{Prompt: ids}}, answer: answers[0],
		speech: infer.Speech{Tokenizer: v.Tokenizer, Stops: stop}}
	var all strings.Builder
	err = speak(ctx, []*choice{c}, func(d delta) error {
		all.WriteString(d.text)
		each(d.text)
		return nil
	}, nil)
	return all.String(), err
}
