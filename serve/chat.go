package serve

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/serve/grammar"
	"github.com/adaptflow/adaptflow/tokenize/chat"
	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// chatRequest is the body of /v1/chat/completions.
type chatRequest struct {
	//lint:ignore SA5008 an option of go-json-experiment
	Settings    settings        `json:",embed"`
	Messages    []message       `json:"messages"`
	MaxTokens   *int            `json:"max_tokens"`
	MaxComplete *int            `json:"max_completion_tokens"`
	LogProbs    *bool           `json:"logprobs"`
	TopLogProbs *int            `json:"top_logprobs"`
	Tools       []tool          `json:"tools"`
	ToolChoice  *toolChoice     `json:"tool_choice"`
	Parallel    *bool           `json:"parallel_tool_calls"`
	Format      *responseFormat `json:"response_format"`
	Functions   json.RawMessage `json:"functions"`
	Modalities  texts           `json:"modalities"`

	Kwargs        json.RawMessage `json:"chat_template_kwargs"`
	AddPrompt     *bool           `json:"add_generation_prompt"`
	ContinueFinal *bool           `json:"continue_final_message"`
}

type chatCompletion struct {
	ID          string       `json:"id"`
	Object      string       `json:"object"`
	Created     int64        `json:"created"`
	Model       string       `json:"model"`
	Fingerprint string       `json:"system_fingerprint"`
	Choices     []chatChoice `json:"choices"`
	Usage       *usage       `json:"usage"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *said         `json:"message,omitempty"`
	Delta    any           `json:"delta,omitempty"`
	LogProbs *chatLogProbs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
}

// said is an assistant's message.
type said struct {
	Role    string     `json:"role"`
	Content *string    `json:"content"`
	Refusal *string    `json:"refusal"`
	Calls   []toolCall `json:"tool_calls,omitempty"`
}

type chatLogProbs struct {
	Content []chatLogProb `json:"content"`
	Refusal *string       `json:"refusal"`
}

type chatTop struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

type chatLogProb struct {
	chatTop
	Top []chatTop `json:"top_logprobs"`
}

func (q *chatRequest) check() *Error {
	if e := q.Settings.check(); e != nil {
		return e
	}
	for _, m := range []struct {
		name  string
		value *int
	}{{"max_tokens", q.MaxTokens}, {"max_completion_tokens", q.MaxComplete}} {
		if m.value != nil && *m.value < 1 {
			return bad(m.name, "%s is %d; it must be at least 1", m.name, *m.value)
		}
	}
	switch {
	case len(q.Messages) == 0:
		return bad("messages", "you must provide messages")
	case q.TopLogProbs != nil && (*q.TopLogProbs < 0 || *q.TopLogProbs > mostLogProbs):
		return bad("top_logprobs", "top_logprobs is %d; it must be from 0 to %d", *q.TopLogProbs, mostLogProbs)
	case is(q.TopLogProbs) > 0 && !is(q.LogProbs):
		return bad("top_logprobs", "top_logprobs is only allowed when logprobs is true")
	case len(q.Functions) > 0 && string(q.Functions) != "null":
		return bad("functions", "functions are not supported: use tools")
	case is(q.ContinueFinal) && q.AddPrompt != nil && *q.AddPrompt:
		return bad("continue_final_message", "continue_final_message and add_generation_prompt exclude each other")
	}
	for _, m := range q.Modalities {
		if m != "text" {
			return bad("modalities", "the modality %q is not supported", m)
		}
	}
	for i := range q.Messages {
		if e := q.Messages[i].check(i); e != nil {
			return e
		}
	}
	return q.checkTools()
}

// rendered is the conversation as the model's template writes it, in tokens.
func (q *chatRequest) rendered(v *Voice) ([]int32, *Error) {
	c := chat.Conversation{Messages: conversation(q.Messages)}
	tools := q.offered()
	if len(tools) > 0 {
		c.Tools = encode(tools)
	}
	if len(q.Kwargs) > 0 && string(q.Kwargs) != "null" {
		if q.Kwargs[0] != '{' {
			return nil, bad("chat_template_kwargs", "chat_template_kwargs must be an object")
		}
		c.Kwargs = q.Kwargs
	}
	t, err := v.Chat.Pick("", len(tools) > 0)
	if err != nil {
		return nil, bad("messages", "the model %q has no chat template: use /v1/completions", v.Name)
	}
	one := *t // with a budget of its own
	one.Budget = jinja.NewBudget(0)
	more := is(q.ContinueFinal)
	out, err := one.Render(c, chat.Options{AddGenerationPrompt: !more && (q.AddPrompt == nil || *q.AddPrompt), ContinueFinalMessage: more})
	if err != nil {
		var own *jinja.Error
		if errors.As(err, &own) {
			return nil, bad("messages", "the chat template refuses the messages: %s", own.Message)
		}
		return nil, bad("messages", "the chat template refuses the messages: %v", err)
	}
	ids, err := v.Tokenizer.AppendIDs(nil, out.Text, false)
	if err != nil {
		return nil, bad("messages", "%v", err)
	}
	return ids, checkIDs(v, "messages", ids)
}

// chats answers /v1/chat/completions.
func (s *Server) chats(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q chatRequest
	if e := s.read(w, r, &q); e != nil {
		return e
	}
	if e := q.check(); e != nil {
		return e
	}
	v, e := s.voice(k, q.Settings.Model)
	if e != nil {
		return e
	}
	ids, e := q.rendered(v)
	if e != nil {
		return e
	}
	most := v.Context - len(ids)
	switch {
	case q.MaxComplete != nil:
		most = *q.MaxComplete
	case q.MaxTokens != nil:
		most = *q.MaxTokens
	}
	if e := fits(v, len(ids), max(most, 1)); e != nil {
		return e
	}
	sampling, e := q.Settings.sampling(v, most)
	if e != nil {
		return e
	}
	end, e := q.Settings.end(v)
	if e != nil {
		return e
	}
	form, e := q.constraint()
	if e != nil {
		return e
	}
	var writer *grammar.Writer
	if form != nil {
		o := s.vocabularies.of(v)
		writer = grammar.NewWriter(form.g, o.ordered, o.all)
		if len(end) == 0 {
			end = v.End
		}
	}
	var asks []*Ask
	for i := range max(is(q.Settings.N), 1) {
		a := &Ask{v, evaluate.Sequence{Prompt: ids, Sampling: sampling, End: end, Draw: uint64(i), LogProbs: -1,
			Owner: k.owner()}}
		if is(q.LogProbs) {
			a.LogProbs = is(q.TopLogProbs)
		}
		if writer != nil {
			a.Mask = mask(writer, end)
		}
		asks = append(asks, a)
	}
	choices, err := s.begin(v, asks, &q.Settings)
	if err != nil {
		return errorOf(err)
	}
	shell := chatCompletion{ID: newID("chatcmpl-"), Object: "chat.completion", Created: now(), Model: *q.Settings.Model,
		Fingerprint: fingerprint}
	if is(q.Settings.Stream) {
		return s.streamChat(w, r, &q, form, v, shell, choices, len(ids))
	}
	shell.Choices = make([]chatChoice, len(choices))
	texts := make([]string, len(choices))
	err = speak(r.Context(), choices, func(d delta) error {
		c := &shell.Choices[d.c.index]
		c.Index = d.c.index
		texts[d.c.index] += d.text
		if is(q.LogProbs) {
			c.LogProbs = c.LogProbs.add(v, d.said)
		}
		if d.finish != "" {
			c.Finish = &d.finish
		}
		return nil
	}, nil)
	if err != nil {
		return errorOf(err)
	}
	for i := range shell.Choices {
		c := &shell.Choices[i]
		content, calls := q.calls(form, texts[i], is(c.Finish) == "stop")
		c.Message, c.Finish = &said{Role: "assistant", Content: content, Calls: calls}, form.reason(c.Finish, calls)
	}
	shell.Usage = usageOf(len(ids), choices)
	s.metrics.finished(v.Name, choices, shell.Usage)
	reply(w, shell)
	return nil
}

// add adds tokens.
func (l *chatLogProbs) add(v *Voice, list []evaluate.Said) *chatLogProbs {
	if l == nil {
		l = &chatLogProbs{Content: []chatLogProb{}}
	}
	one := func(t evaluate.TokenProb) chatTop {
		return chatTop{tokenText(v.Tokenizer, t.ID), finite(t.LogProb), ints(tokenBytes(v.Tokenizer, t.ID))}
	}
	for _, s := range list {
		p := chatLogProb{chatTop: one(s.TokenProb), Top: []chatTop{}}
		for _, t := range s.Top {
			p.Top = append(p.Top, one(t))
		}
		l.Content = append(l.Content, p)
	}
	return l
}

// roleDelta begins a streamed choice.
type roleDelta struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type textDelta struct {
	Content *string `json:"content,omitempty"`
}

func (s *Server) streamChat(w http.ResponseWriter, r *http.Request, q *chatRequest, form *constraint, v *Voice, shell chatCompletion,
	choices []*choice, prompt int) *Error {
	out := newStream(w)
	shell.Object = "chat.completion.chunk"
	counts := q.Settings.StreamOptions != nil && is(q.Settings.StreamOptions.IncludeUsage)
	send := func(c chatChoice) error {
		chunk := shell
		chunk.Choices = []chatChoice{c}
		return out.send(chunk)
	}
	begun := make([]bool, len(choices))
	held := make([]string, len(choices)) // where calls may be: it is known at the end whether there are
	holds := len(q.offered()) > 0 && (form == nil || form.call || form.name != "")
	err := speak(r.Context(), choices, func(d delta) error {
		i := d.c.index
		if !begun[i] {
			begun[i] = true
			if err := send(chatChoice{Index: i, Delta: roleDelta{Role: "assistant"}}); err != nil {
				return err
			}
		}
		var l *chatLogProbs
		if is(q.LogProbs) {
			l = l.add(v, d.said)
		}
		if held[i] += d.text; holds {
			if d.finish == "" && l == nil {
				return nil
			}
			if d.text = ""; d.finish != "" {
				content, calls := q.calls(form, held[i], d.finish == "stop")
				if d.text = is(content); len(calls) > 0 {
					if err := send(chatChoice{Index: i, Delta: callsOf(calls)}); err != nil {
						return err
					}
				}
				d.finish = *form.reason(&d.finish, calls)
			}
		}
		if d.text != "" || l != nil && len(l.Content) > 0 {
			if err := send(chatChoice{Index: i, Delta: textDelta{&d.text}, LogProbs: l}); err != nil {
				return err
			}
		}
		if d.finish != "" {
			return send(chatChoice{Index: i, Delta: textDelta{}, Finish: &d.finish})
		}
		return nil
	}, out.ping)
	if err != nil {
		out.fail(errorOf(err))
		return nil
	}
	u := usageOf(prompt, choices)
	s.metrics.finished(v.Name, choices, u)
	if counts {
		shell.Choices, shell.Usage = []chatChoice{}, u
		_ = out.send(shell)
	}
	_ = out.done()
	return nil
}
