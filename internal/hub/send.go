package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// errUnsafe is the cause of errors about addresses that a request must not be sent on to.
var errUnsafe = errors.New("the server sends on to an address that is not safe")

// hops is how often a request is sent on.
const hops = 5

// sending is how a request is made.
type sending struct {
	from  int64                     // the first byte that is wanted; 0 for all
	away  bool                      // it may be sent on to another server, without the token
	takes func(*http.Response) bool // an answer that is taken although it sends on; nil for none
}

// send makes a request and follows where it is sent on to. The token goes to the scheme, host and port of Endpoint alone, not over plain
// http (but on this machine), and not to it again once the request was elsewhere; from https a request is never sent on to http.
func (c *Client) send(ctx context.Context, method, address string, o sending) (*http.Response, error) {
	home, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the address of the hub (HF_ENDPOINT): %w", err)
	}
	client := *c.client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	token := c.Token != "" && storage.Guarded(home)
	for range hops + 1 {
		r, err := http.NewRequestWithContext(ctx, method, address, nil)
		if err != nil {
			return nil, err
		}
		if token = token && storage.SameOrigin(r.URL, home); token {
			r.Header.Set("Authorization", "Bearer "+c.Token)
		}
		r.Header.Set("User-Agent", "adaptflow")
		// What is counted and compared are the file's own bytes.
		r.Header.Set("Accept-Encoding", "identity")
		if o.from > 0 {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", o.from))
		}
		resp, err := client.Do(r)
		if err != nil {
			return nil, plain(err)
		}
		to := resp.Header.Get("Location")
		if resp.StatusCode < 300 || resp.StatusCode >= 400 || to == "" || o.takes != nil && o.takes(resp) {
			return resp, nil
		}
		resp.Body.Close()
		next, err := r.URL.Parse(to)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%w: %q", errUnsafe, clip(to))
		case next.Scheme != "https" && (next.Scheme != "http" || r.URL.Scheme == "https"):
			return nil, fmt.Errorf("%w: from %s to %s", errUnsafe, bare(r.URL), bare(next))
		case !o.away && !storage.SameOrigin(next, home):
			return nil, &StatusError{Code: resp.StatusCode, What: "no checksum", Hint: "is HF_ENDPOINT the address of a hub?"}
		}
		if next.User = nil; storage.SameOrigin(next, home) {
			next.User = home.User
		}
		address = next.String()
	}
	return nil, &StatusError{Code: http.StatusLoopDetected, What: "it sends in circles"}
}

// bare is an address without what may be secret in it: a password, a signature.
func bare(u *url.URL) string {
	b := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return clip(b.String())
}

// plain takes secrets out of an error of a request.
func plain(err error) error {
	var e *url.Error
	if !errors.As(err, &e) {
		return err
	}
	u, bad := url.Parse(e.URL)
	if bad != nil {
		return e.Err
	}
	return &url.Error{Op: e.Op, URL: bare(u), Err: e.Err}
}

// clip shortens what a server says to what a line takes.
func clip(s string) string {
	if r := []rune(s); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return s
}
