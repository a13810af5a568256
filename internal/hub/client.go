package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// ErrOffline is the cause of errors about models that the cache does not hold while the hub may not or cannot be asked.
var ErrOffline = errors.New("the hub is not reached")

// Client fetches models from one hub into one cache.
type Client struct {
	Endpoint string // "https://huggingface.co"
	Token    string // sent to the endpoint alone, by https or within this machine; empty for none
	Cache    string // folder of models--org--name
	Offline  bool   // use the cache alone
	HTTP     *http.Client
	// Progress, when set, receives how much of a file is there: once when it begins and then about once a second.
	Progress func(file string, done, total int64)
	Pause    time.Duration // before the first repetition of a failed request, then twice as long each time
	Idle     time.Duration // a transfer that brings nothing for so long is broken off
}

// attempts is how often a request is tried that fails for a reason that may pass.
const attempts = 5

// FromEnv makes a client as HF_ENDPOINT, HF_TOKEN (or HF_TOKEN_PATH, or the file token in HF_HOME), HF_HUB_CACHE, HF_HOME,
// XDG_CACHE_HOME, HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE say.
func FromEnv() (*Client, error) {
	home := os.Getenv("HF_HOME")
	if home == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			user, err := os.UserHomeDir()
			if err != nil {
				return nil, fmt.Errorf("no folder for downloaded models: %w; set HF_HOME to one", err)
			}
			base = filepath.Join(user, ".cache")
		}
		home = filepath.Join(base, "huggingface")
	}
	c := &Client{Endpoint: "https://huggingface.co", Cache: filepath.Join(home, "hub"), Token: os.Getenv("HF_TOKEN"),
		Offline: truth(os.Getenv("HF_HUB_OFFLINE")) || truth(os.Getenv("TRANSFORMERS_OFFLINE")), Pause: time.Second, Idle: time.Minute}
	if d := os.Getenv("HF_HUB_CACHE"); d != "" {
		c.Cache = d
	}
	if e := os.Getenv("HF_ENDPOINT"); e != "" {
		c.Endpoint = strings.TrimRight(e, "/")
	}
	if u, err := url.Parse(c.Endpoint); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("HF_ENDPOINT is %q: it must be an address such as https://huggingface.co", c.where())
	}
	if c.Token == "" {
		path := os.Getenv("HF_TOKEN_PATH")
		if path == "" {
			path = filepath.Join(home, "token")
		}
		if raw, err := storage.ReadSmall(path, storage.KindConfig); err == nil {
			c.Token = strings.TrimSpace(string(raw))
		}
	}
	return c, nil
}

// truth reads a switch as huggingface_hub does.
func truth(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

var repoName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*(@[A-Za-z0-9][A-Za-z0-9._/-]*)?$`)

// Is reports whether ref has the form of a model of the hub: org/name, or org/name@revision for a branch, tag or commit.
func Is(ref string) bool {
	repo, _, _ := strings.Cut(ref, "@")
	// The cache's folder of a/b--c and of a--b/c would be one; the hub has neither.
	return repoName.MatchString(ref) && !strings.Contains(ref, "..") && !strings.Contains(repo, "--") && len(ref) <= 400
}

// where is the endpoint without a password.
func (c *Client) where() string {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return "no address"
	}
	u.User = nil
	return u.String()
}

// StatusError is an answer of the hub that is not a success.
type StatusError struct {
	Code int    // HTTP status
	What string // the hub's own words, X-Error-Code or X-Error-Message, may be empty
	Hint string // what to do
}

// Error implements error.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("the hub answers %d %s", e.Code, http.StatusText(e.Code))
	if e.What != "" {
		s += " (" + e.What + ")"
	}
	if e.Hint != "" {
		s += ": " + e.Hint
	}
	return s
}

func (c *Client) client() *http.Client {
	if c.HTTP != nil {
		return c.HTTP
	}
	return http.DefaultClient
}

// status turns an answer into an error that says what to do.
func (c *Client) status(repo string, r *http.Response) error {
	e := &StatusError{Code: r.StatusCode, What: clip(r.Header.Get("X-Error-Code"))}
	if e.What == "" {
		e.What = clip(r.Header.Get("X-Error-Message"))
	}
	token := "set HF_TOKEN to a token that may read it"
	if c.Token != "" {
		token = "the token in use (HF_TOKEN) may not read it; check it at " + c.where() + "/settings/tokens"
		if u, err := url.Parse(c.Endpoint); err == nil && !storage.Guarded(u) {
			token = "use an https address as HF_ENDPOINT: HF_TOKEN is not sent over plain http"
		}
	}
	switch {
	case e.What == "GatedRepo":
		e.Hint = fmt.Sprintf("accept the model's terms at %s/%s, then %s", c.where(), repo, token)
	case e.Code == http.StatusUnauthorized || e.Code == http.StatusForbidden:
		e.Hint = "there is no such model, or it is private: check the name, or " + token
	case e.What == "RevisionNotFound":
		e.Hint = "the model has no such revision; leave @revision away for its main branch"
	case e.Code == http.StatusNotFound:
		e.Hint = fmt.Sprintf("there is no such model; look for it at %s/models", c.where())
	case e.Code == http.StatusTooManyRequests:
		e.Hint = "too many requests; try again later, or set HF_TOKEN"
	}
	return e
}

// passing reports whether a failure may pass.
func passing(err error) bool {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Code >= 500 || s.Code == http.StatusTooManyRequests || s.Code == http.StatusRequestTimeout
	}
	return !errors.Is(err, context.Canceled) && !errors.Is(err, errDamaged) && !errors.Is(err, errUnsafe) &&
		!errors.As(err, new(*os.PathError))
}

// retry runs f until it succeeds, fails for good, or has been tried often enough. f says whether it got further than before, which
// starts the count again.
func (c *Client) retry(ctx context.Context, f func() (progress bool, err error)) error {
	pause := c.Pause
	for try := 1; ; try++ {
		progress, err := f()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		if progress {
			try, pause = 1, c.Pause
		}
		if try >= attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// maxListing bounds the list of a revision's files.
const maxListing = 16 << 20

// listing is what the hub says of a revision.
type listing struct {
	SHA      string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

// list asks for the commit and the files of a revision.
func (c *Client) list(ctx context.Context, repo, revision string) (l listing, err error) {
	err = c.retry(ctx, func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, c.Idle)
		defer cancel()
		resp, err := c.send(ctx, http.MethodGet, c.Endpoint+"/api/models/"+repo+"/revision/"+url.PathEscape(revision), sending{away: true})
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false, c.status(repo, resp)
		}
		raw, err := io.ReadAll(io.LimitReader(resp.Body, maxListing+1))
		if err != nil {
			return false, err
		}
		l = listing{}
		switch err := json.Unmarshal(raw, &l); {
		case len(raw) > maxListing:
			return false, &StatusError{Code: resp.StatusCode, What: fmt.Sprintf("a list of files of more than %d MiB", maxListing>>20),
				Hint: "is HF_ENDPOINT the address of a hub?"}
		case err != nil || !commitName.MatchString(l.SHA):
			return false, &StatusError{Code: resp.StatusCode, What: "no list of files", Hint: "is HF_ENDPOINT the address of a hub?"}
		case commitName.MatchString(revision) && l.SHA != revision:
			return false, &StatusError{Code: resp.StatusCode, What: "the files of the commit " + l.SHA + ", which was not asked for",
				Hint: "is HF_ENDPOINT the address of a hub?"}
		}
		return false, nil
	})
	return l, err
}

var commitName = regexp.MustCompile(`^[0-9a-f]{40}$`)
