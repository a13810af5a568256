package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's name of a blob, which the hub gives for small files
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// errDamaged is the cause of errors about bytes that do not have the checksum that the hub states.
var errDamaged = errors.New("damaged on the way")

// remote is what the hub says of one file.
type remote struct {
	etag string // sha256 of a large file, git's sha1 of a small one
	size int64
	from string // address
}

var etagName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// head asks for a file's checksum and size, at the hub itself: the storage that it sends on to has others.
func (c *Client) head(ctx context.Context, repo, commit, file string) (m remote, err error) {
	err = c.retry(ctx, func() (bool, error) {
		m = remote{from: c.Endpoint + "/" + repo + "/resolve/" + commit + "/" + url.PathEscape(file)}
		client := *c.client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		ctx, cancel := context.WithTimeout(ctx, c.Idle)
		defer cancel()
		for range 5 {
			r, err := c.request(ctx, http.MethodHead, m.from)
			if err != nil {
				return false, err
			}
			resp, err := client.Do(r)
			if err != nil {
				return false, err
			}
			resp.Body.Close()
			if resp.StatusCode >= 400 {
				return false, c.status(repo, resp)
			}
			etag, size := resp.Header.Get("X-Linked-Etag"), resp.Header.Get("X-Linked-Size")
			if to := resp.Header.Get("Location"); etag == "" && resp.StatusCode >= 300 && to != "" {
				next, err := r.URL.Parse(to)
				if err != nil || next.Host != r.URL.Host { // the token does not leave the hub
					return false, &StatusError{Code: resp.StatusCode, What: "no checksum", Hint: "is HF_ENDPOINT the address of a hub?"}
				}
				m.from = next.String()
				continue
			}
			if etag == "" {
				etag, size = resp.Header.Get("ETag"), resp.Header.Get("Content-Length")
			}
			m.etag = strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
			if m.size, err = strconv.ParseInt(size, 10, 64); err != nil || m.size < 0 || !etagName.MatchString(m.etag) {
				return false, &StatusError{Code: resp.StatusCode, What: fmt.Sprintf("checksum %q, size %q", m.etag, size), Hint: "is HF_ENDPOINT the address of a hub?"}
			}
			return false, nil
		}
		return false, &StatusError{Code: http.StatusLoopDetected, What: "it sends in circles"}
	})
	return m, err
}

// fetch puts a file of a commit into the cache: its blob, unless that is there, and the snapshot's link to it.
func (c *Client) fetch(ctx context.Context, repo, root, commit, file string) error {
	m, err := c.head(ctx, repo, commit, file)
	if err != nil {
		return err
	}
	blob := filepath.Join(root, "blobs", m.etag)
	link := filepath.Join(root, "snapshots", commit, file)
	locks := filepath.Join(c.Cache, ".locks", filepath.Base(root))
	for _, dir := range []string{filepath.Dir(blob), filepath.Dir(link), locks} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("the cache cannot be written: %w; set HF_HOME to another folder", err)
		}
	}
	unlock, err := lock(ctx, filepath.Join(locks, m.etag+".lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(blob); err != nil {
		if err := c.download(ctx, repo, file, m, blob); err != nil {
			return err
		}
	}
	return place(blob, link)
}

// place links a snapshot's file to its blob, relatively; where the system has no links the blob is moved.
func place(blob, link string) error {
	if _, err := os.Stat(link); err == nil {
		return nil
	}
	to, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return err
	}
	tmp := fmt.Sprintf("%s.%d.tmp", link, os.Getpid())
	os.Remove(tmp)
	if err := os.Symlink(to, tmp); err != nil {
		return os.Rename(blob, link)
	}
	return os.Rename(tmp, link)
}

// newSum is the hash that an etag of that length is made with.
func newSum(m remote) hash.Hash {
	if len(m.etag) == 64 {
		return sha256.New()
	}
	h := sha1.New() //nolint:gosec // as git does
	fmt.Fprintf(h, "blob %d\x00", m.size)
	return h
}

// download brings a blob, going on from what an earlier attempt left, and names it when its checksum is right.
func (c *Client) download(ctx context.Context, repo, file string, m remote, blob string) error {
	part := blob + ".incomplete"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	resumed := false
	for {
		sum := newSum(m)
		have, err := io.Copy(sum, f)
		if err != nil {
			return err
		}
		if have > m.size {
			have, resumed = 0, false
		}
		resumed = resumed || have > 0
		if have == 0 {
			if sum, err = newSum(m), restart(f); err != nil {
				return err
			}
		}
		w := &sink{f: f, sum: sum, have: have, c: c, file: file, total: m.size}
		w.report(true)
		err = c.retry(ctx, func() (bool, error) {
			before := w.have
			err := c.stream(ctx, repo, m, w)
			return w.have > before, err
		})
		if err != nil {
			return err
		}
		got := hex.EncodeToString(w.sum.Sum(nil))
		if got == m.etag {
			break
		}
		// The rest of an earlier download may be to blame: once more, from the beginning.
		if err := restart(f); err != nil {
			return err
		}
		if !resumed {
			f.Close()
			os.Remove(part)
			return fmt.Errorf("%w: the checksum of the %d bytes is %s, and the hub states %s; nothing was kept, run it again", errDamaged, w.have, got, m.etag)
		}
		resumed = false
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(part, blob)
}

// restart empties a file.
func restart(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// sink is the file being written and the checksum of what it holds.
type sink struct {
	f     *os.File
	sum   hash.Hash
	have  int64
	total int64
	c     *Client
	file  string
	told  time.Time
}

func (w *sink) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.sum.Write(p[:n])
	w.have += int64(n)
	w.report(false)
	return n, err
}

func (w *sink) report(first bool) {
	if w.c.Progress != nil && (first || w.have == w.total || time.Since(w.told) > time.Second) {
		w.told = time.Now()
		w.c.Progress(w.file, w.have, w.total)
	}
}

// stream asks for what w lacks and writes it.
func (c *Client) stream(ctx context.Context, repo string, m remote, w *sink) error {
	if w.have == m.size {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(c.Idle, func() { cancel(fmt.Errorf("nothing came for %v", c.Idle)) })
	defer idle.Stop()
	r, err := c.request(ctx, http.MethodGet, m.from)
	if err != nil {
		return err
	}
	if w.have > 0 {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-", w.have))
	}
	client := *c.client()
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if next.URL.Host != via[0].URL.Host { // net/http would send it to subdomains
			next.Header.Del("Authorization")
		}
		if len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	resp, err := client.Do(r)
	if err != nil {
		return stalled(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-", w.have); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return fmt.Errorf("the server sends %q instead of %s", resp.Header.Get("Content-Range"), want)
		}
	case http.StatusOK: // from the beginning, whatever was asked for
		if w.have > 0 {
			if err := restart(w.f); err != nil {
				return err
			}
			w.sum, w.have = newSum(m), 0
		}
	default:
		return c.status(repo, resp)
	}
	// One byte more than there should be shows a file that is too long; its checksum is wrong then.
	_, err = io.Copy(w, &alive{io.LimitReader(resp.Body, m.size-w.have+1), idle, c.Idle})
	if err != nil {
		return stalled(ctx, err)
	}
	if w.have < m.size {
		return fmt.Errorf("the connection ended after %d of %d bytes: %w", w.have, m.size, io.ErrUnexpectedEOF)
	}
	return nil
}

// stalled gives the reason for which a transfer was broken off here, where that is why it failed.
func stalled(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// alive is a body that winds up the alarm with every read.
type alive struct {
	r     io.Reader
	alarm *time.Timer
	after time.Duration
}

func (a *alive) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	a.alarm.Reset(a.after)
	return n, err
}
