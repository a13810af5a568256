package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"time"

	gcs "cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	htransport "google.golang.org/api/transport/http"
)

var gsFiles = &files{scheme: "gs", open: openGCS}

type gcsStore struct {
	client *gcs.Client
	known  bool // there are credentials, or a server that needs none

	transport *transport
}

// openGCS takes Google's application default credentials, or none where there are none: public buckets can be read so.
// STORAGE_EMULATOR_HOST names another server.
func openGCS(ctx context.Context) (store, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = slots
	ours := newTransport(base)
	c := &http.Client{Transport: ours}
	opts := []option.ClientOption{option.WithHTTPClient(c)}
	known := os.Getenv("STORAGE_EMULATOR_HOST") != ""
	if !known {
		if a, err := htransport.NewTransport(ctx, ours, option.WithScopes(gcs.ScopeReadWrite)); err == nil {
			c.Transport, known = a, true
		} else {
			opts = append(opts, option.WithoutAuthentication())
		}
	}
	client, err := gcs.NewClient(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("the Google Cloud settings cannot be used: %w", err)
	}
	return &gcsStore{client, known, ours}, nil
}

// bucket is a bucket whose requests are tried again as Google's library does it, for all of them (writes without preconditions here give
// equal bytes), with the end of [Patience].
func (s *gcsStore) bucket(ctx context.Context, name string) *gcs.BucketHandle {
	return s.client.Bucket(name).Retryer(gcs.WithPolicy(gcs.RetryAlways),
		gcs.WithBackoff(gax.Backoff{Initial: 250 * time.Millisecond, Max: longestPause, Multiplier: 2}),
		gcs.WithErrorFunc(func(err error) bool { return gcs.ShouldRetry(err) && callOf(ctx).patient() }))
}

func (s *gcsStore) object(ctx context.Context, bucket, key string) *gcs.ObjectHandle {
	return s.bucket(ctx, bucket).Object(key)
}

func described(a *gcs.ObjectAttrs) object {
	return object{a.Name, a.Size, strconv.FormatInt(a.Generation, 10), a.Updated, a.Metadata[markName]}
}

func (s *gcsStore) list(ctx context.Context, bucket, prefix string, each func(object) error) error {
	q := &gcs.Query{Prefix: prefix}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "Updated"}); err != nil {
		return err
	}
	it := s.bucket(ctx, bucket).Objects(ctx, q)
	for {
		o, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return s.explain(bucket, err)
		}
		if err := each(described(o)); err != nil {
			return err
		}
	}
}

func (s *gcsStore) stat(ctx context.Context, bucket, key string) (object, error) {
	a, err := s.object(ctx, bucket, key).Attrs(ctx)
	if err != nil {
		return object{}, s.explain(bucket, err)
	}
	return described(a), nil
}

// generation reads a version.
func generation(version string) (int64, error) {
	g, err := strconv.ParseInt(version, 10, 64)
	if err != nil || g <= 0 {
		return 0, fmt.Errorf("%q is not a generation of Google Cloud Storage", version)
	}
	return g, nil
}

func (s *gcsStore) read(ctx context.Context, bucket, key, version string, off, n int64) (io.ReadCloser, object, error) {
	o := s.object(ctx, bucket, key)
	if version != "" {
		g, err := generation(version)
		if err != nil {
			return nil, object{}, err
		}
		o = o.Generation(g)
	}
	r, err := o.NewRangeReader(ctx, off, n)
	if err != nil {
		if err = s.explain(bucket, err); version != "" && errors.Is(err, fs.ErrNotExist) {
			err = errReplaced
		}
		return nil, object{}, err
	}
	return r, object{key: key, size: r.Attrs.Size, version: strconv.FormatInt(r.Attrs.Generation, 10), modified: r.Attrs.LastModified}, nil
}

func (s *gcsStore) put(ctx context.Context, bucket, key string, r io.Reader, how putOptions) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := s.object(ctx, bucket, key)
	if how.absent {
		o = o.If(gcs.Conditions{DoesNotExist: true})
	} else if how.version != "" {
		g, err := generation(how.version)
		if err != nil {
			return "", err
		}
		o = o.If(gcs.Conditions{GenerationMatch: g})
	}
	w := o.NewWriter(ctx)
	w.ChunkRetryDeadline = Patience
	if how.mark != "" {
		w.Metadata = map[string]string{markName: how.mark}
	}
	_, err := io.Copy(w, r)
	if err != nil {
		cancel() // so that closing does not publish half of it
		return "", s.explain(bucket, errors.Join(err, w.Close()))
	}
	if err := w.Close(); err != nil {
		return "", s.explain(bucket, err)
	}
	return strconv.FormatInt(w.Attrs().Generation, 10), nil
}

func (s *gcsStore) remove(ctx context.Context, bucket, key, version string) error {
	o := s.object(ctx, bucket, key)
	if version != "" {
		g, err := generation(version)
		if err != nil {
			return err
		}
		o = o.If(gcs.Conditions{GenerationMatch: g})
	}
	return s.explain(bucket, o.Delete(ctx))
}
