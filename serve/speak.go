package serve

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

// choice is one of the answers to a request.
type choice struct {
	index  int
	ask    *Ask
	answer Answer
	speech infer.Speech
	prompt []evaluate.Said // of the prompt's tokens from the second on, where they are wanted
	tokens int             // that were generated
	times  *times          // nil for none
}

// delta is what is new of a choice.
type delta struct {
	c      *choice
	text   string
	said   []evaluate.Said
	finish string // "" while it goes on
	err    error
}

// begin has the engine answer.
func (s *Server) begin(v *Voice, asks []*Ask, c *settings) ([]*choice, error) {
	answers, err := s.engine.Start(asks...)
	if err != nil {
		return nil, err
	}
	var out []*choice
	for i, a := range answers {
		out = append(out, &choice{index: i, ask: asks[i], answer: a, times: s.metrics.begin(v.Name),
			speech: infer.Speech{Tokenizer: v.Tokenizer, Stops: c.Stop, WithStop: is(c.IncludeStop)}})
	}
	return out, nil
}

// pinged is how long a stream is silent before it says that it lives.
const pinged = 10 * time.Second

// speak reads the answers and calls each with what is new, in one goroutine, until all have ended or ctx has: then all are given up. idle,
// if not nil, is called now and then while nothing is new.
func speak(ctx context.Context, choices []*choice, each func(d delta) error, idle func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := make(chan delta)
	for _, c := range choices {
		go c.listen(ctx, news)
	}
	tick := time.NewTicker(pinged)
	defer tick.Stop()
	for left := len(choices); left > 0; {
		select {
		case d := <-news:
			if d.err != nil {
				return d.err
			}
			if d.finish != "" {
				left--
			}
			if err := each(d); err != nil {
				return err
			}
			tick.Reset(pinged)
		case <-tick.C:
			if idle != nil {
				if err := idle(); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// listen reads one answer to its end.
func (c *choice) listen(ctx context.Context, news chan<- delta) {
	defer c.answer.Close()
	tell := func(d delta) {
		d.c = c
		select {
		case news <- d:
		case <-ctx.Done():
		}
	}
	var held []evaluate.Said // whose text is not shown yet
	for {
		s, err := c.answer.Next(ctx)
		if errors.Is(err, io.EOF) {
			c.times.end(c.answer)
			tell(delta{finish: "length", said: held})
			return
		}
		if err != nil {
			tell(delta{err: err})
			return
		}
		if s.Place < len(c.ask.Prompt) {
			c.prompt = append(c.prompt, s)
			continue
		}
		c.tokens++
		c.times.token()
		text := c.speech.Add(s)
		held = append(held, s)
		if c.speech.Finish != "" {
			c.times.end(c.answer)
		}
		if text != "" || c.speech.Finish != "" {
			tell(delta{text: text, said: held, finish: c.speech.Finish})
			held = nil
		}
		if c.speech.Finish != "" || ctx.Err() != nil {
			return
		}
	}
}

// usage is what a request has cost.
type usage struct {
	Prompt     int     `json:"prompt_tokens"`
	Completion int     `json:"completion_tokens"`
	Total      int     `json:"total_tokens"`
	Details    *cached `json:"prompt_tokens_details"`
}

type cached struct {
	Tokens int `json:"cached_tokens"`
}

func usageOf(prompt int, choices []*choice) *usage {
	u := &usage{Prompt: prompt, Details: &cached{}}
	for i, c := range choices {
		u.Completion += c.tokens
		if x, ok := c.answer.(interface{ Cached() int }); ok && (i == 0 || &choices[i-1].ask.Prompt[0] != &c.ask.Prompt[0]) {
			u.Details.Tokens += x.Cached()
		}
	}
	u.Total = u.Prompt + u.Completion
	return u
}
