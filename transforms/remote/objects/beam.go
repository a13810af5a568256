package objects

import (
	"context"
	"io"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/gcs" // gs:// for Beam's transforms
)

// Beam's own file system of S3 ends the program by a panic where the settings are wrong, and knows no server whose buckets are not host
// names. Beam's transforms get the one of this package.
func registerWithBeam() {
	filesystem.Register("s3", func(context.Context) filesystem.Interface { return beamFiles{s3Files} })
}

// beamFiles is a store as a file system of Beam's.
type beamFiles struct{ *files }

var _ filesystem.Remover = beamFiles{}

// Close implements filesystem.Interface; the client is the process's.
func (beamFiles) Close() error { return nil }

// List implements filesystem.Interface.
func (f beamFiles) List(_ context.Context, glob string) ([]string, error) { return f.Glob(glob) }

// OpenRead implements filesystem.Interface.
func (f beamFiles) OpenRead(ctx context.Context, p string) (out io.ReadCloser, err error) {
	err = f.call(ctx, p, &call{stream: true}, func(ctx context.Context, s store, bucket, key string) error {
		out, _, err = s.read(ctx, bucket, key, "", 0, -1)
		return err
	})
	return out, err
}

// OpenWrite implements filesystem.Interface. What is written appears when it is closed without an error.
func (f beamFiles) OpenWrite(ctx context.Context, p string) (io.WriteCloser, error) {
	r, w := io.Pipe()
	u := &upload{PipeWriter: w, done: make(chan error, 1)}
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		err := f.do(ctx, p, func(ctx context.Context, s store, bucket, key string) error {
			_, err := s.put(ctx, bucket, key, r, putOptions{})
			return err
		})
		r.CloseWithError(err)
		u.done <- err
	}()
	return u, nil
}

type upload struct {
	*io.PipeWriter
	done chan error
}

func (u *upload) Close() error {
	if err := u.PipeWriter.Close(); err != nil {
		return err
	}
	return <-u.done
}

// Size implements filesystem.Interface.
func (f beamFiles) Size(ctx context.Context, p string) (int64, error) {
	i, err := f.Stat(ctx, p)
	return i.Size, err
}

// Remove implements filesystem.Remover.
func (f beamFiles) Remove(_ context.Context, p string) error { return f.files.Remove(p) }
