package rewards

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Endpoint asks an HTTP endpoint: a POST of answers as lines of JSON, which is answered with a line for each. What it said is kept, so that
// it is asked once of the same answer.
type Endpoint struct {
	URL string `json:"url" help:"where answers are posted to: http://… or https://…"`
	Asking
}

// NewEndpoint has the defaults.
func NewEndpoint() *Endpoint { return &Endpoint{Asking: newAsking()} }

// Check implements [Checker].
func (w *Endpoint) Check() error {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("url is %q; it must be http://… or https://…", w.URL)
	}
	return w.check()
}

// Score implements [Reward].
func (w *Endpoint) Score(ctx context.Context, answers []Answer) ([]float64, error) {
	return w.score(ctx, w.URL, answers, func(ctx context.Context, lines []byte) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(lines))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, said))
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", resp.Status, short(strings.TrimSpace(string(raw))))
		}
		return raw, nil
	})
}
