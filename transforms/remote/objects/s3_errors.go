package objects

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// s3Retryer is the AWS library's own standard retrying, which knows what may be tried again and how pauses grow, with the end of
// [Patience] instead of that of three tries and a budget that all operations of the process share. AWS_MAX_ATTEMPTS bounds it further.
type s3Retryer struct{ *retry.Standard }

func newS3Retryer() aws.Retryer {
	return s3Retryer{retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 1000
		o.MaxBackoff = longestPause
		o.RateLimiter = ratelimit.None
	})}
}

var errNoUpload = errors.New("the upload in parts was ended meanwhile")

var errImpatient = errors.New("it was tried for long enough")

// GetRetryToken implements aws.Retryer.
func (r s3Retryer) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	if !callOf(ctx).patient() {
		return nil, errImpatient
	}
	return r.Standard.GetRetryToken(ctx, err)
}

// s3Codes are the codes of errors that a person can mend, with what they are and what to do; %s is the bucket. From the list of error codes
// of Amazon S3's API reference.
var s3Codes = map[string]struct {
	is   error
	text string
}{
	"NoSuchKey":    {fs.ErrNotExist, "there is no such object"},
	"NotFound":     {fs.ErrNotExist, "there is no such object"},
	"NoSuchBucket": {storage.ErrNoBucket, "there is no bucket %s: make it, or name another one"},
	"AccessDenied": {storage.ErrForbidden, forbidden},
	"Forbidden":    {storage.ErrForbidden, forbidden},
	"InvalidAccessKeyId": {storage.ErrCredentials, "the AWS credentials are refused (InvalidAccessKeyId): the bucket %s's store does not " +
		"know the key; see AWS_ACCESS_KEY_ID and AWS_PROFILE"},
	"SignatureDoesNotMatch": {storage.ErrCredentials, "the AWS credentials are refused for the bucket %s (SignatureDoesNotMatch): the " +
		"secret key is not the access key's"},
	"InvalidToken": {storage.ErrCredentials, "the AWS credentials are refused for the bucket %s (InvalidToken): see " +
		"AWS_SESSION_TOKEN"},
	"ExpiredToken":         {storage.ErrCredentials, expired},
	"TokenRefreshRequired": {storage.ErrCredentials, expired},
	"RequestTimeTooSkewed": {storage.ErrCredentials, "the clock of this machine and that of the bucket %s's store differ too much: set it"},
	"PermanentRedirect":    {nil, elsewhere},
	"MovedPermanently":     {nil, elsewhere},
	"TemporaryRedirect":    {nil, redirected},
	"Redirect":             {nil, redirected},
	"Found":                {nil, redirected},
	"SeeOther":             {nil, redirected},
	"PreconditionFailed":   {storage.ErrChanged, "the object of the bucket %s was changed meanwhile"},
}

const (
	forbidden = "the credentials do not allow this on the bucket %s: they need the rights to list it and to read, write and delete its " +
		"objects"
	expired    = "the AWS credentials for the bucket %s have run out (ExpiredToken): renew them and run again; what is finished is kept"
	elsewhere  = "the bucket %s is in another region: set AWS_REGION"
	redirected = "the server of the bucket %s sends on to another address, where the credentials do not go: set AWS_REGION or " +
		"AWS_ENDPOINT_URL to where the bucket is"
)

// explain says in words what a person can mend.
func (s *s3Store) explain(bucket string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var api smithy.APIError
	var answer *awshttp.ResponseError
	status := 0
	if errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	if errors.As(err, &api) {
		code := api.ErrorCode()
		switch code {
		case "ConditionalRequestConflict":
			return errConflict
		case "NoSuchUpload":
			return errNoUpload
		}
		if row, ok := s3Codes[code]; ok {
			text := row.text
			if row.is != fs.ErrNotExist {
				text = fmt.Sprintf(text, bucket)
			}
			if row.is == nil {
				return errors.New(text)
			}
			return storage.AsKind(errors.New(text), row.is)
		}
		text := fmt.Errorf("%s: %s", code, api.ErrorMessage())
		switch _, slow := retry.DefaultThrottleErrorCodes[code]; {
		case slow || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
			return tooMany(bucket, text)
		case status >= http.StatusInternalServerError:
			return failing(bucket, text)
		}
		return text
	}
	var n *net.OpError
	if errors.As(err, &n) {
		where := "Amazon S3"
		if s.endpoint != "" {
			where = s.endpoint + " (AWS_ENDPOINT_URL)"
		}
		return storage.AsKind(fmt.Errorf("%s does not answer: %w", where, n), storage.ErrUnavailable)
	}
	if errors.Is(err, errImpatient) || status >= http.StatusInternalServerError {
		return failing(bucket, err)
	}
	return err
}

// tooMany is the error of a store that still refuses requests for their number.
func tooMany(bucket string, err error) error {
	return storage.AsKind(fmt.Errorf("the store of the bucket %s refused requests for their number over %v: use fewer workers at once, or "+
		"run again later, which goes on where this ended (%w)", bucket, Patience.Round(time.Second), err), storage.ErrThrottled)
}

// failing is the error of a store that still fails.
func failing(bucket string, err error) error {
	return storage.AsKind(fmt.Errorf("the store of the bucket %s failed over %v: run again later, which goes on where this ended (%w)",
		bucket, Patience.Round(time.Second), err), storage.ErrUnavailable)
}
