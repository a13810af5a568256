package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	gcs "cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// explain says in words what a person can mend.
func (s *gcsStore) explain(bucket string, err error) error {
	var api *googleapi.Error
	var n *net.OpError
	var token *oauth2.RetrieveError
	code := 0
	if errors.As(err, &api) {
		code = api.Code
	}
	as := func(is error, format string, args ...any) error {
		return storage.AsKind(fmt.Errorf(format, args...), is)
	}
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, gcs.ErrObjectNotExist):
		return as(fs.ErrNotExist, "there is no such object")
	case errors.Is(err, gcs.ErrBucketNotExist), code == http.StatusNotFound:
		return as(storage.ErrNoBucket, "there is no bucket %s: make it, or name another one", bucket)
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && !s.known:
		return as(storage.ErrForbidden, "no Google credentials were found, and the bucket %s is not public: set "+
			"GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login", bucket)
	case code == http.StatusForbidden:
		return as(storage.ErrForbidden, forbidden, bucket)
	case code == http.StatusUnauthorized, errors.As(err, &token):
		return as(storage.ErrCredentials, "the Google credentials for the bucket %s are refused or have run out: run gcloud auth "+
			"application-default login, or renew the key, and run again; what is finished is kept", bucket)
	case code == http.StatusPreconditionFailed:
		return as(storage.ErrChanged, "the object of the bucket %s was changed meanwhile", bucket)
	case code == http.StatusConflict:
		return errConflict
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return tooMany(bucket, fmt.Errorf("%d: %s", code, api.Message))
	case code >= http.StatusInternalServerError:
		return failing(bucket, fmt.Errorf("%d: %s", code, api.Message))
	case api != nil:
		return fmt.Errorf("the answer of Google Cloud Storage is %d: %s", code, api.Message)
	case errors.As(err, &n):
		return as(storage.ErrUnavailable, "no answer of Google Cloud Storage: %w", n)
	case gcs.ShouldRetry(err):
		return failing(bucket, err)
	}
	return err
}
