package objects

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Patience is how long requests of one operation are tried again while a store throttles, fails or does not answer, from the first that
// failed; each success starts it anew. The pauses are the clients' own: they grow exponentially, with jitter, to [longestPause].
var Patience = 2 * time.Minute

// strangerPatience is Patience for a store that has never answered this process: its address is probably wrong.
const strangerPatience = 5 * time.Second

const longestPause = 20 * time.Second

// call is one operation on a store: what its requests share.
type call struct {
	stream bool // the answer is read for as long as its reader likes, so that it takes none of the slots

	mu      sync.Mutex
	date    time.Time // of the last answer, by the store's clock
	failing time.Time // since when; zero after a success
	known   *known
}

// known says whether a store has answered before.
type known struct {
	mu  sync.Mutex
	yes bool
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// left is how long the operation may still try. It begins to count at its first call after a success.
func (c *call) left() time.Duration {
	if c == nil {
		return Patience
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing.IsZero() {
		c.failing = time.Now()
	}
	limit := Patience
	c.known.mu.Lock()
	if !c.known.yes {
		limit = min(limit, strangerPatience)
	}
	c.known.mu.Unlock()
	return limit - time.Since(c.failing)
}

// patient says whether the operation may try again.
func (c *call) patient() bool { return c.left() > 0 }

// answered notes an answer of the store.
func (c *call) answered(r *http.Response) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		c.date = d
	}
	c.known.mu.Lock()
	c.known.yes = true
	c.known.mu.Unlock()
	if r.StatusCode < http.StatusInternalServerError && r.StatusCode != http.StatusTooManyRequests {
		c.failing = time.Time{}
	}
}

// clock is the store's time of the last answer.
func (c *call) clock() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.date
}

// slots is how many requests one store may have on their way from this process.
const slots = 64

// transport bounds the requests on their way, notes the store's clock, and waits as long as a refused request was asked to (Retry-After,
// which the clients do not read).
type transport struct {
	base http.RoundTripper
	free chan struct{} // of the size of slots
}

func newTransport(base http.RoundTripper) *transport {
	return &transport{base, make(chan struct{}, slots)}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	select {
	case t.free <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	give := sync.OnceFunc(func() { <-t.free })
	a, err := t.base.RoundTrip(r)
	if err != nil {
		give()
		return nil, err
	}
	c := callOf(ctx)
	c.answered(a)
	if c != nil && c.stream {
		give()
	}
	a.Body = &body{a.Body, give}
	if a.StatusCode == http.StatusTooManyRequests || a.StatusCode == http.StatusServiceUnavailable {
		give()
		wait := min(retryAfter(a.Header.Get("Retry-After"), c), c.left())
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
	return a, nil
}

// CloseIdleConnections is what http.Client calls.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// retryAfter reads the header (RFC 9110, 10.2.3): a number of seconds or a date, which is compared with the store's clock.
func retryAfter(h string, c *call) time.Duration {
	if s, err := strconv.Atoi(h); err == nil {
		return time.Duration(s) * time.Second
	}
	if d, err := http.ParseTime(h); err == nil && c != nil {
		return d.Sub(c.clock())
	}
	return 0
}

// body gives the slot of its request back.
type body struct {
	io.ReadCloser
	give func()
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.give()
	}
	return n, err
}

func (b *body) Close() error {
	b.give()
	return b.ReadCloser.Close()
}
