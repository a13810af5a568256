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
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
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

// maxSide bounds the files beside the weights, which are read whole.
const maxSide = 256 << 20

// head asks for a file's checksum and size, at the hub itself: the storage that it sends on to has others.
func (c *Client) head(ctx context.Context, repo, commit, file string) (m remote, err error) {
	err = c.retry(ctx, func() (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, c.Idle)
		defer cancel()
		resp, err := c.send(ctx, http.MethodHead, c.Endpoint+"/"+repo+"/resolve/"+commit+"/"+url.PathEscape(file), sending{
			takes: func(r *http.Response) bool { return r.Header.Get("X-Linked-Etag") != "" }})
		if err != nil {
			return false, err
		}
		resp.Body.Close()
		etag, size := resp.Header.Get("X-Linked-Etag"), resp.Header.Get("X-Linked-Size")
		switch {
		case resp.StatusCode >= 400:
			return false, c.status(repo, resp)
		case etag == "":
			etag, size = resp.Header.Get("ETag"), resp.Header.Get("Content-Length")
		}
		m = remote{from: resp.Request.URL.String(), etag: strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)}
		if m.size, err = strconv.ParseInt(size, 10, 64); err != nil || m.size < 0 || !etagName.MatchString(m.etag) {
			return false, &StatusError{Code: resp.StatusCode, What: fmt.Sprintf("checksum %q, size %q", clip(m.etag), clip(size)),
				Hint: "is HF_ENDPOINT the address of a hub?"}
		}
		if m.size > maxSide && slices.Contains(side, file) {
			return false, &StatusError{Code: resp.StatusCode,
				What: fmt.Sprintf("a size of %d bytes; at most %d are read of such a file", m.size, maxSide)}
		}
		return false, nil
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
	if st, err := os.Lstat(link); err == nil && st.Mode().IsRegular() && sound(root, link, m.etag) == nil {
		return storage.WriteShared(record(root, filepath.Dir(link), file), []byte(m.etag))
	}
	if sound(root, blob, m.etag) != nil {
		if err := os.RemoveAll(blob); err != nil { // a damaged one
			return err
		}
		if err := c.download(ctx, repo, file, m, blob); err != nil {
			return err
		}
	}
	return place(root, blob, link)
}

// place links a snapshot's file to its blob, relatively, whatever was there; where the system has no links the blob is moved, and its
// checksum recorded.
func place(root, blob, link string) error {
	if check(root, filepath.Dir(link), filepath.Base(link), true) == nil {
		return nil
	}
	to, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return err
	}
	if st, err := os.Lstat(link); err == nil && st.IsDir() {
		if err := os.RemoveAll(link); err != nil {
			return err
		}
	}
	tmp := fmt.Sprintf("%s.%d.tmp", link, os.Getpid())
	os.Remove(tmp)
	if err := os.Symlink(to, tmp); err == nil {
		return os.Rename(tmp, link)
	}
	if err := storage.WriteShared(record(root, filepath.Dir(link), filepath.Base(link)), []byte(filepath.Base(blob))); err != nil {
		return err
	}
	return os.Rename(blob, link)
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
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|noFollow, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is not a file: remove it", part), err)
	}
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
		best := have // a server that begins anew each time gets no further by that
		err = c.retry(ctx, func() (bool, error) {
			err := c.stream(ctx, repo, m, w)
			further := w.have > best
			best = max(best, w.have)
			return further, err
		})
		if err != nil {
			return err
		}
		got := hex.EncodeToString(w.sum.Sum(nil))
		if got == m.etag && w.have == m.size {
			break
		}
		// The rest of an earlier download may be to blame: once more, from the beginning.
		if err := restart(f); err != nil {
			return err
		}
		if !resumed {
			f.Close()
			os.Remove(part)
			return fmt.Errorf("%w: the checksum of the %d bytes is %s, and the hub states %s of %d bytes; nothing was kept, run it again",
				errDamaged, w.have, got, m.etag, m.size)
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
	resp, err := c.send(ctx, http.MethodGet, m.from, sending{from: w.have, away: true})
	if err != nil {
		return stalled(ctx, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if want := fmt.Sprintf("bytes %d-", w.have); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return fmt.Errorf("the server sends %q instead of %s", clip(resp.Header.Get("Content-Range")), want)
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
