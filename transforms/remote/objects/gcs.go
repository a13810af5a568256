package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"

	gcs "cloud.google.com/go/storage"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/gcsx"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
)

var gsFiles = &files{scheme: "gs", open: openGCS}

type gcsStore struct {
	client *gcs.Client
	known  bool // there are credentials
}

// openGCS takes Google's application default credentials, or none where there are none: public buckets can be read so.
// STORAGE_EMULATOR_HOST names another server.
func openGCS(ctx context.Context) (store, error) {
	c, err := gcsx.NewClient(ctx, gcs.ScopeReadWrite)
	known := err == nil
	if err != nil {
		if c, err = gcsx.NewUnauthenticatedClient(ctx); err != nil {
			return nil, fmt.Errorf("the Google Cloud settings cannot be used: %w", err)
		}
	}
	return &gcsStore{c, known}, nil
}

func (s *gcsStore) list(ctx context.Context, bucket, prefix string, each func(string)) error {
	q := &gcs.Query{Prefix: prefix}
	if err := q.SetAttrSelection([]string{"Name"}); err != nil {
		return err
	}
	it := s.client.Bucket(bucket).Objects(ctx, q)
	for {
		o, err := it.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return s.explain(bucket, err)
		}
		each(o.Name)
	}
}

func (s *gcsStore) stat(ctx context.Context, bucket, key string) (int64, string, error) {
	a, err := s.client.Bucket(bucket).Object(key).Attrs(ctx)
	if err != nil {
		return 0, "", s.explain(bucket, err)
	}
	return a.Size, strconv.FormatInt(a.Generation, 10), nil
}

func (s *gcsStore) read(ctx context.Context, bucket, key, version string, off, n int64) (io.ReadCloser, error) {
	o := s.client.Bucket(bucket).Object(key)
	if g, err := strconv.ParseInt(version, 10, 64); err == nil && g > 0 {
		o = o.Generation(g)
	}
	r, err := o.NewRangeReader(ctx, off, n)
	if err != nil {
		return nil, s.explain(bucket, err)
	}
	return r, nil
}

func (s *gcsStore) put(ctx context.Context, bucket, key string, r io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := s.client.Bucket(bucket).Object(key).NewWriter(ctx)
	if _, err := io.Copy(w, r); err != nil {
		cancel() // so that closing does not publish half of it
		return s.explain(bucket, errors.Join(err, w.Close()))
	}
	return s.explain(bucket, w.Close())
}

func (s *gcsStore) remove(ctx context.Context, bucket, key string) error {
	return s.explain(bucket, s.client.Bucket(bucket).Object(key).Delete(ctx))
}

// explain says in words what a person can mend.
func (s *gcsStore) explain(bucket string, err error) error {
	var api *googleapi.Error
	var n *net.OpError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gcs.ErrObjectNotExist):
		return fmt.Errorf("there is no such object: %w", fs.ErrNotExist)
	case errors.Is(err, gcs.ErrBucketNotExist):
		return fmt.Errorf("there is no bucket %s", bucket)
	case errors.As(err, &api) && (api.Code == http.StatusUnauthorized || api.Code == http.StatusForbidden) && !s.known:
		return fmt.Errorf("no Google credentials were found, and the bucket %s is not public: set GOOGLE_APPLICATION_CREDENTIALS, or run "+
			"gcloud auth application-default login: %w",
			bucket, fs.ErrPermission)
	case errors.As(err, &api) && (api.Code == http.StatusUnauthorized || api.Code == http.StatusForbidden):
		return fmt.Errorf("the credentials do not allow this on the bucket %s: %w", bucket, fs.ErrPermission)
	case errors.As(err, &api) && api.Code == http.StatusNotFound:
		return fmt.Errorf("there is no bucket %s", bucket)
	case errors.As(err, &api):
		return fmt.Errorf("the answer of Google Cloud Storage is %d: %s", api.Code, api.Message)
	case errors.As(err, &n):
		return fmt.Errorf("no answer of Google Cloud Storage: %w", n)
	}
	return err
}
