package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

func (f *files) info(uri string, o object, c *call) storage.Info {
	return storage.Info{URI: uri, Size: o.size, Version: storage.Version(o.version), Modified: o.modified, Now: c.clock()}
}

// sleep waits, and says whether the context still stands.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Stat implements storage.Objects.
func (f *files) Stat(ctx context.Context, uri string) (i storage.Info, err error) {
	err = f.do(ctx, uri, func(ctx context.Context, s store, bucket, key string) error {
		o, err := s.stat(ctx, bucket, key)
		i = f.info(uri, o, callOf(ctx))
		return err
	})
	return i, err
}

// Fetch implements storage.Objects.
func (f *files) Fetch(ctx context.Context, uri string, most int64) (b []byte, i storage.Info, err error) {
	err = f.do(ctx, uri, func(ctx context.Context, s store, bucket, key string) error {
		r, o, err := s.read(ctx, bucket, key, "", 0, -1)
		if err != nil {
			return err
		}
		i = f.info(uri, o, callOf(ctx))
		if o.size > most {
			r.Close()
			return fmt.Errorf("it has %s, and at most %s are expected: is it the right object?", storage.Size(o.size), storage.Size(most))
		}
		b = make([]byte, o.size)
		_, err = io.ReadFull(r, b)
		if err = errors.Join(err, r.Close()); err != nil && ctx.Err() == nil { // it broke off
			if b, o, err = fetch(ctx, s, bucket, key, "", 0, -1); err == nil && int64(len(b)) > most {
				err = errReplaced
			}
			i = f.info(uri, o, callOf(ctx))
		}
		return err
	})
	return b, i, err
}

// conflicts is how often a conditional write that met another one (409, of S3) is made again.
const conflicts = 8

// errConflict is of a conditional write that met another one: which of them counts is not said, and it is to be made again.
var errConflict = errors.New("another write of the object is on its way")

// newMark is a mark that no other call has.
func newMark() string { return fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64()) }

// putMarked stores an object. The client may have sent it several times, of which the first was stored and its answer lost; then the later
// ones find the precondition broken by their own object, or their upload finished, which they know by the mark.
func putMarked(ctx context.Context, s store, bucket, key string, body io.Reader, o putOptions) (string, error) {
	version, err := s.put(ctx, bucket, key, body, o)
	if errors.Is(err, storage.ErrChanged) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoUpload) {
		if is, serr := s.stat(ctx, bucket, key); serr == nil && is.mark == o.mark {
			return is.version, nil
		}
	}
	return version, err
}

// PutIf implements storage.Objects.
func (f *files) PutIf(ctx context.Context, uri string, body io.ReadSeeker, have storage.Version) (v storage.Version, err error) {
	o := putOptions{absent: have == storage.Absent, version: string(have), mark: newMark()}
	err = f.do(ctx, uri, func(ctx context.Context, s store, bucket, key string) error {
		for n := range conflicts {
			if !sleep(ctx, time.Duration(n)*50*time.Millisecond) {
				return ctx.Err()
			}
			if _, err := body.Seek(0, io.SeekStart); err != nil {
				return err
			}
			version, err := putMarked(ctx, s, bucket, key, body, o)
			if !errors.Is(err, errConflict) {
				v = storage.Version(version)
				return err
			}
		}
		return storage.AsKind(fmt.Errorf("%w; run again", errConflict), storage.ErrUnavailable)
	})
	if err != nil {
		v = storage.Absent
	}
	return v, err
}

// RemoveIf implements storage.Objects. That an earlier try has deleted it looks as if it were gone before.
func (f *files) RemoveIf(ctx context.Context, uri string, have storage.Version) error {
	return f.do(ctx, uri, func(ctx context.Context, s store, bucket, key string) error {
		return s.remove(ctx, bucket, key, string(have))
	})
}

// List implements storage.Objects.
func (f *files) List(ctx context.Context, folder string, each func(storage.Info) error) error {
	return f.below(ctx, folder, func(ctx context.Context, s store, bucket, prefix string) error {
		return s.list(ctx, bucket, prefix, func(o object) error {
			if strings.HasSuffix(o.key, "/") { // what consoles make to show an empty folder
				return nil
			}
			i := f.info(f.scheme+"://"+bucket+"/"+o.key, o, callOf(ctx))
			i.Now = time.Time{}
			return each(i)
		})
	})
}

// SweepUploads ends the uploads in parts below a folder that were begun before a time, of a store that keeps them for ever. Google Cloud
// Storage ends its own after a week.
func (f *files) SweepUploads(ctx context.Context, folder string, before time.Time) (n int64, err error) {
	err = f.below(ctx, folder, func(ctx context.Context, s store, bucket, prefix string) error {
		if u, ok := s.(*s3Store); ok {
			n, err = u.endUploads(ctx, bucket, prefix, before)
			return err
		}
		return nil
	})
	return n, err
}

// Clock implements storage.Objects: the Date of an answer.
func (f *files) Clock(ctx context.Context, uri string) (now time.Time, err error) {
	err = f.do(ctx, storage.Join(uri, storage.LocationName), func(ctx context.Context, s store, bucket, key string) error {
		_, err := s.stat(ctx, bucket, key)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if now = callOf(ctx).clock(); now.IsZero() {
			return errors.New("the server's answers have no Date, by which times are compared")
		}
		return nil
	})
	return now, err
}
