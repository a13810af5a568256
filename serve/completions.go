package serve

import (
	"net/http"

	"github.com/adaptflow/adaptflow/evaluate"
)

// completionRequest is the body of /v1/completions.
type completionRequest struct {
	//lint:ignore SA5008 an option of go-json-experiment
	Settings  settings `json:",embed"`
	Prompt    prompts  `json:"prompt"`
	MaxTokens *int     `json:"max_tokens"`
	LogProbs  *int     `json:"logprobs"`
	Echo      *bool    `json:"echo"`
	Suffix    *string  `json:"suffix"`
	BestOf    *int     `json:"best_of"`
	Special   *bool    `json:"add_special_tokens"`
}

type completion struct {
	ID          string             `json:"id"`
	Object      string             `json:"object"`
	Created     int64              `json:"created"`
	Model       string             `json:"model"`
	Fingerprint string             `json:"system_fingerprint"`
	Choices     []completionChoice `json:"choices"`
	Usage       *usage             `json:"usage"`
}

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	LogProbs *completionLogProbs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
}

// completionLogProbs are the log-probabilities of tokens, as the legacy API has them. Those of a prompt begin with null.
type completionLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []*float64           `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"`
}

const defaultTokens = 16

func (q *completionRequest) check() *Error {
	if e := q.Settings.check(); e != nil {
		return e
	}
	n := int(is(q.Settings.N))
	switch {
	case q.Prompt.len() == 0:
		return bad("prompt", "you must provide a prompt")
	case q.Prompt.len() > mostPrompts:
		return bad("prompt", "there are %d prompts; %d are the most", q.Prompt.len(), mostPrompts)
	case q.MaxTokens != nil && *q.MaxTokens < 0:
		return bad("max_tokens", "max_tokens is %d; it must be at least 0", *q.MaxTokens)
	case q.LogProbs != nil && (*q.LogProbs < 0 || *q.LogProbs > mostLogProbs):
		return bad("logprobs", "logprobs is %d; it must be from 0 to %d", *q.LogProbs, mostLogProbs)
	case is(q.Suffix) != "":
		return bad("suffix", "suffix is not supported")
	case q.BestOf != nil && *q.BestOf != max(n, 1):
		return bad("best_of", "best_of is only supported where it is n")
	}
	return nil
}

// ids are the tokens of the prompts.
func (q *completionRequest) ids(v *Voice) (out [][]int32, e *Error) {
	for _, text := range q.Prompt.texts {
		ids, err := promptIDs(v, text, q.Special == nil || *q.Special)
		if err != nil {
			return nil, bad("prompt", "%v", err)
		}
		out = append(out, ids)
	}
	out = append(out, q.Prompt.ids...)
	for _, ids := range out {
		if e := checkIDs(v, "prompt", ids); e != nil {
			return nil, e
		}
	}
	return out, nil
}

// promptIDs are the tokens of a text, with what stands before every text or without.
func promptIDs(v *Voice, text string, special bool) (ids []int32, err error) {
	if special {
		ids, err = v.Frame.Prompt(text)
	} else {
		ids, err = v.Tokenizer.AppendIDs(nil, text, false)
	}
	if err == nil && len(ids) == 0 && v.BOS >= 0 {
		ids = []int32{v.BOS}
	}
	return ids, err
}

func checkIDs(v *Voice, param string, ids []int32) *Error {
	if len(ids) == 0 {
		return bad(param, "the text has no tokens")
	}
	for _, id := range ids {
		if id < 0 || int(id) >= v.Vocab {
			return bad(param, "the model has no token id %d: its vocabulary is %d", id, v.Vocab)
		}
	}
	return nil
}

// fits refuses what is longer than the context.
func fits(v *Voice, prompt, most int) *Error {
	if prompt+most > v.Context {
		return tooLong("This model's maximum context length is %d tokens. However, you requested %d tokens (%d in the prompt, %d in the "+
			"completion). Please reduce the length of the prompt or the completion.", v.Context, prompt+most, prompt, most)
	}
	return nil
}

// completions answers /v1/completions.
func (s *Server) completions(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q completionRequest
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
	ids, e := q.ids(v)
	if e != nil {
		return e
	}
	most := defaultTokens
	if q.MaxTokens != nil {
		most = *q.MaxTokens
	}
	sampling, e := q.Settings.sampling(v, most)
	if e != nil {
		return e
	}
	end, e := q.Settings.end(v)
	if e != nil {
		return e
	}
	var asks []*Ask
	prompt := 0
	for _, p := range ids {
		if e := fits(v, len(p), most); e != nil {
			return e
		}
		prompt += len(p)
		for range max(is(q.Settings.N), 1) {
			a := &Ask{v, evaluate.Sequence{Prompt: p, Sampling: sampling, End: end, Draw: uint64(len(asks)), LogProbs: -1,
				Owner: k.owner()}}
			if q.LogProbs != nil {
				a.LogProbs, a.Echo = *q.LogProbs, is(q.Echo)
			}
			asks = append(asks, a)
		}
	}
	if len(asks) > mostPrompts {
		return bad("n", "prompts times n are %d; %d are the most", len(asks), mostPrompts)
	}
	choices, err := s.begin(v, asks, &q.Settings)
	if err != nil {
		return errorOf(err)
	}
	shell := completion{ID: newID("cmpl-"), Object: "text_completion", Created: now(), Model: *q.Settings.Model, Fingerprint: fingerprint}
	if is(q.Settings.Stream) {
		return s.streamCompletion(w, r, &q, v, shell, choices, prompt)
	}
	shell.Choices = make([]completionChoice, len(choices))
	said := make([][]evaluate.Said, len(choices))
	err = speak(r.Context(), choices, func(d delta) error {
		c := &shell.Choices[d.c.index]
		c.Index, c.Text, said[d.c.index] = d.c.index, c.Text+d.text, append(said[d.c.index], d.said...)
		if d.finish != "" {
			c.Finish = &d.finish
		}
		return nil
	}, nil)
	if err != nil {
		return errorOf(err)
	}
	for i, c := range choices {
		out := &shell.Choices[i]
		if is(q.Echo) {
			out.Text = q.echoed(v, c) + out.Text
		}
		if q.LogProbs != nil {
			out.LogProbs = &completionLogProbs{}
			if is(q.Echo) {
				out.LogProbs.first(v, c.ask.Prompt[0])
				out.LogProbs.add(v, c.prompt, *q.LogProbs)
			}
			out.LogProbs.add(v, said[i], *q.LogProbs)
		}
	}
	shell.Usage = usageOf(prompt, choices)
	s.metrics.finished(v.Name, choices, shell.Usage)
	reply(w, shell)
	return nil
}

// echoed is the prompt of a choice as text.
func (q *completionRequest) echoed(v *Voice, c *choice) string {
	if len(q.Prompt.texts) > 0 {
		return q.Prompt.texts[c.index/max(is(q.Settings.N), 1)]
	}
	return v.Tokenizer.Decode(c.ask.Prompt, false)
}

// first is a prompt's first token, of which nothing is known.
func (l *completionLogProbs) first(v *Voice, id int32) {
	l.Tokens, l.LogProbs, l.Offsets = []string{tokenText(v.Tokenizer, id)}, []*float64{nil}, []int{0}
	l.Top = []map[string]float64{nil}
}

// add adds tokens. Of two that read alike the likelier one's number stays: a token that is the likeliest has the number of the likeliest.
func (l *completionLogProbs) add(v *Voice, said []evaluate.Said, top int) {
	for _, s := range said {
		text := tokenText(v.Tokenizer, s.ID)
		at := 0
		if n := len(l.Tokens); n > 0 {
			at = l.Offsets[n-1] + characters(l.Tokens[n-1])
		}
		p := finite(s.LogProb)
		l.Tokens, l.LogProbs, l.Offsets = append(l.Tokens, text), append(l.LogProbs, &p), append(l.Offsets, at)
		m := map[string]float64{text: p}
		for _, t := range s.Top {
			name := tokenText(v.Tokenizer, t.ID)
			if old, ok := m[name]; !ok || finite(t.LogProb) > old {
				m[name] = finite(t.LogProb)
			}
		}
		l.Top = append(l.Top, m)
	}
}

func (s *Server) streamCompletion(w http.ResponseWriter, r *http.Request, q *completionRequest, v *Voice, shell completion,
	choices []*choice, prompt int) *Error {
	out := newStream(w)
	counts := q.Settings.StreamOptions != nil && is(q.Settings.StreamOptions.IncludeUsage)
	begun := make([]bool, len(choices))
	offsets := make([]int, len(choices))
	err := speak(r.Context(), choices, func(d delta) error {
		i := d.c.index
		c := completionChoice{Index: i, Text: d.text}
		first := is(q.Echo) && !begun[i]
		if first {
			c.Text = q.echoed(v, d.c) + c.Text
		}
		begun[i] = true
		if q.LogProbs != nil {
			c.LogProbs = &completionLogProbs{}
			if first {
				c.LogProbs.first(v, d.c.ask.Prompt[0])
				c.LogProbs.add(v, d.c.prompt, *q.LogProbs)
			}
			c.LogProbs.add(v, d.said, *q.LogProbs)
			for k := range c.LogProbs.Offsets {
				c.LogProbs.Offsets[k] += offsets[i]
			}
			for _, t := range c.LogProbs.Tokens {
				offsets[i] += characters(t)
			}
		}
		if d.finish != "" {
			c.Finish = &d.finish
		}
		chunk := shell
		chunk.Choices = []completionChoice{c}
		return out.send(chunk)
	}, out.ping)
	if err != nil {
		out.fail(errorOf(err))
		return nil
	}
	u := usageOf(prompt, choices)
	s.metrics.finished(v.Name, choices, u)
	if counts {
		shell.Choices, shell.Usage = []completionChoice{}, u
		_ = out.send(shell)
	}
	_ = out.done()
	return nil
}
