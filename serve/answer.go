package serve

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

// answer is a sequence of a [Live] engine, between its goroutine and the one that asked.
type answer struct {
	e     *Live
	ask   *Ask
	embed func(m *infer.Model, slot int) error // in place of a sequence
	r     *resident                            // the goroutine's
	gone  atomic.Bool                          // nobody wants it any more

	vectors [][]float32
	waited  time.Duration // before it began; under mu, as is cached
	cached  int
	since   time.Time

	mu    sync.Mutex
	said  []evaluate.Said
	ended bool
	err   error
	news  chan struct{}
}

func newAnswer(e *Live, a *Ask) *answer {
	return &answer{e: e, ask: a, since: time.Now(), news: make(chan struct{}, 1)}
}

func (a *answer) tell(f func()) {
	a.mu.Lock()
	f()
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

func (a *answer) say(s evaluate.Said) {
	if s.Place >= len(a.ask.Prompt) {
		a.e.count(func(x *Stats) { x.GeneratedTokens++ })
	}
	a.tell(func() { a.said = append(a.said, s) })
}

func (a *answer) begin(cached int) {
	n := int64(len(a.ask.Prompt))
	a.e.count(func(x *Stats) { x.PromptTokens, x.CachedTokens = x.PromptTokens+n, x.CachedTokens+int64(cached) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waited, a.cached = time.Since(a.since), cached
}

// Cached is how many tokens of the prompt were not read anew.
func (a *answer) Cached() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cached
}

// Waited is how long it stood in the queue.
func (a *answer) Waited() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waited
}

func (a *answer) end(err error) { a.tell(func() { a.ended, a.err = true, err }) }

// Next implements Answer.
func (a *answer) Next(ctx context.Context) (evaluate.Said, error) {
	for {
		a.mu.Lock()
		switch {
		case len(a.said) > 0:
			s := a.said[0]
			a.said = a.said[1:]
			a.mu.Unlock()
			return s, nil
		case a.ended:
			err := a.err
			a.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return evaluate.Said{}, err
		}
		a.mu.Unlock()
		select {
		case <-a.news:
		case <-ctx.Done():
			return evaluate.Said{}, context.Cause(ctx)
		}
	}
}

// Close implements Answer.
func (a *answer) Close() {
	a.mu.Lock()
	ended := a.ended
	a.mu.Unlock()
	if !ended {
		a.gone.Store(true)
		a.e.poke()
	}
}
