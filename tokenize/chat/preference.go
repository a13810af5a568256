package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/tokenize"
)

// Answers are the token ids of a prompt and of answers to it, as TRL's trainers of preferences make them: the prompt is what its own ids
// and those of each text with an answer begin with alike, and the rest of these is the answer. A prompt whose last token would be another
// one with an answer after it ends before that token.
type Answers struct {
	Prompt  []int32
	Answers [][]int32
}

// PlainAnswers encodes a prompt and answers that are texts, with the special tokens that the tokenizer adds by itself. The text of the
// token for the end stands after every answer that does not end with it.
func PlainAnswers(tk tokenize.Tokenizer, prompt string, answers []string) (*Answers, error) {
	_, eos, _, _ := tk.Special()
	end, _ := tk.IDToToken(eos)
	var whole [][]int32
	for _, a := range append([]string{""}, answers...) {
		if len(whole) > 0 && !strings.HasSuffix(a, end) {
			a += end
		}
		if !utf8.ValidString(prompt) || !utf8.ValidString(a) {
			return nil, errors.New("the example is not valid UTF-8")
		}
		ids, err := tk.AppendIDs(nil, prompt+a, true)
		if err != nil {
			return nil, err
		}
		whole = append(whole, ids)
	}
	return parted(whole[0], whole[1:]), nil
}

// Answers encodes a prompt and answers that are lists of messages.
func (t *Template) Answers(tk tokenize.Tokenizer, prompt json.RawMessage, answers []json.RawMessage, c Conversation) (*Answers, error) {
	ids := func(messages json.RawMessage, o Options) ([]int32, error) {
		c.Messages = messages
		r, err := t.Render(c, o)
		if err != nil {
			return nil, err
		}
		return tk.AppendIDs(nil, r.Text, false)
	}
	before, err := ids(prompt, Options{AddGenerationPrompt: true})
	if err != nil {
		return nil, err
	}
	var whole [][]int32
	for _, a := range answers {
		both, err := concat(prompt, a)
		if err != nil {
			return nil, err
		}
		x, err := ids(both, Options{})
		if err != nil {
			return nil, err
		}
		whole = append(whole, x)
	}
	return parted(before, whole), nil
}

// parted takes what all begin with as the prompt.
func parted(prompt []int32, whole [][]int32) *Answers {
	n := len(prompt)
	for _, w := range whole {
		k := 0
		for k < min(n, len(w)) && w[k] == prompt[k] {
			k++
		}
		n = k
	}
	a := &Answers{Prompt: prompt[:n]}
	for _, w := range whole {
		a.Answers = append(a.Answers, w[n:])
	}
	return a
}
