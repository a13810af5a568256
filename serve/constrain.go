package serve

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/serve/grammar"
)

// vocabularies are the bytes of the tokens of tokenizers, by their hashes, made when the first constrained answer needs them.
type vocabularies struct {
	mu sync.Mutex
	by map[string]*vocabulary
}

type vocabulary struct {
	all     [][]byte // by id; nil of special tokens
	ordered *grammar.Vocabulary
}

func (c *vocabularies) of(v *Voice) *vocabulary {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := v.Tokenizer.Hash()
	if o := c.by[name]; o != nil {
		return o
	}
	o := &vocabulary{all: make([][]byte, v.Vocab)}
	for id := range int32(min(v.Vocab, v.Tokenizer.VocabSize())) {
		if _, ok := v.Tokenizer.IDToToken(id); ok && v.Tokenizer.Decode([]int32{id}, true) != "" {
			o.all[id] = tokenBytes(v.Tokenizer, id)
		}
	}
	o.ordered = grammar.NewVocabulary(o.all)
	if c.by == nil || len(c.by) > 16 {
		c.by = map[string]*vocabulary{}
	}
	c.by[name] = o
	return o
}

// constraint is what an answer must be: JSON, and how it is read.
type constraint struct {
	g    *grammar.Grammar
	name string // of the tool whose arguments it is; "" for another constraint
	call bool   // it is a call, {"name": …, "arguments": …}
}

// constraint is that of a request; nil for none.
func (q *chatRequest) constraint() (*constraint, *Error) {
	arguments := func(t tool) (*grammar.Grammar, *Error) {
		if p := t.Function.Parameters; len(p) > 0 && string(p) != "null" {
			g, err := grammar.Schema(p)
			if err != nil {
				return nil, bad("tools", "the parameters of %q: %v", t.Function.Name, err)
			}
			return g, nil
		}
		return grammar.Object(), nil
	}
	if c := q.ToolChoice; c != nil && (c.mode == "named" || c.mode == "required") {
		var names []string
		var all []*grammar.Grammar
		for _, t := range q.Tools {
			if c.mode == "named" && t.Function.Name != c.name {
				continue
			}
			g, e := arguments(t)
			if e != nil {
				return nil, e
			}
			if c.mode == "named" {
				return &constraint{g: g, name: c.name}, nil
			}
			names, all = append(names, t.Function.Name), append(all, g)
		}
		return &constraint{g: grammar.Calls(names, all), call: true}, nil
	}
	if q.Format == nil || q.Format.Type == "text" {
		return nil, nil
	}
	if q.Format.Type == "json_object" {
		return &constraint{g: grammar.Object()}, nil
	}
	g, err := grammar.Schema(q.Format.Schema.Schema)
	if err != nil {
		return nil, bad("response_format", "response_format.json_schema: %v", err)
	}
	return &constraint{g: g}, nil
}

// mask has an answer's tokens be those of a grammar.
func mask(w *grammar.Writer, end []int32) func(logits []float32, generated []int32) error {
	text := w.Text()
	return func(logits []float32, generated []int32) error {
		bits, may := text.Allow(generated)
		for id := range logits {
			if bits[id/64]>>(id%64)&1 == 0 && (!may || !slices.Contains(end, int32(id))) {
				logits[id] = float32(math.Inf(-1))
			}
		}
		return nil
	}
}

// calls are the calls of tools in what was said, and what was said beside them.
func (q *chatRequest) calls(c *constraint, text string, whole bool) (content *string, calls []toolCall) {
	one := func(raw string) bool {
		var f struct {
			Name       string          `json:"name"`
			Arguments  json.RawMessage `json:"arguments"`
			Parameters json.RawMessage `json:"parameters"`
		}
		if json.Unmarshal([]byte(raw), &f) != nil || !slices.ContainsFunc(q.Tools, func(t tool) bool { return t.Function.Name == f.Name }) {
			return false
		}
		args := f.Arguments
		if args == nil {
			args = f.Parameters
		}
		if len(args) == 0 || args[0] != '{' {
			return false
		}
		calls = append(calls, toolCall{newID("call_"), "function", calledFunction{f.Name, string(args)}})
		return true
	}
	switch {
	case c != nil && c.name != "":
		return nil, []toolCall{{newID("call_"), "function", calledFunction{c.name, text}}}
	case c != nil && !c.call, len(q.offered()) == 0, !whole:
		return &text, nil
	case one(strings.TrimSpace(text)):
		return nil, calls
	}
	before, rest, found := strings.Cut(text, "<tool_call>")
	for found {
		raw, more, _ := strings.Cut(rest, "</tool_call>")
		if !one(strings.TrimSpace(raw)) {
			return &text, nil
		}
		_, rest, found = strings.Cut(more, "<tool_call>")
	}
	if len(calls) == 0 {
		return &text, nil
	}
	if before = strings.TrimSpace(before); before != "" {
		content = &before
	}
	return content, calls
}

// deltaCall is a call in a stream, which has its place.
type deltaCall struct {
	Index int `json:"index"`
	toolCall
}

type callsDelta struct {
	Calls []deltaCall `json:"tool_calls"`
}

func callsOf(calls []toolCall) callsDelta {
	var d callsDelta
	for i, c := range calls {
		d.Calls = append(d.Calls, deltaCall{i, c})
	}
	return d
}

// reason is why an answer ended, where it has calls: a forced one ends by stop, as OpenAI's.
func (c *constraint) reason(finish *string, calls []toolCall) *string {
	if len(calls) == 0 || is(finish) != "stop" || c != nil && c.name != "" {
		return finish
	}
	why := "tool_calls"
	return &why
}
