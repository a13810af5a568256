package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/adaptflow/adaptflow/internal/storage"
)

var s3Files = &files{scheme: "s3", open: openS3}

// credentialTime is how long looking for credentials may take; the last place is a service of Amazon's own machines, which elsewhere does
// not answer.
const credentialTime = 10 * time.Second

var errReplaced = errors.New("the object was replaced while it was read: run again")

type s3Store struct {
	client   *s3.Client
	endpoint string // "" for Amazon's
}

// openS3 reads the settings where the AWS command line has them: environment, files, profile, the machine's role. AWS_ENDPOINT_URL (or
// AWS_ENDPOINT_URL_S3) names another server that speaks S3; its buckets are the first part of a path then, not of the host's name.
func openS3(ctx context.Context) (store, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("the AWS settings cannot be used: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1" // as the AWS libraries of other languages do for S3
	}
	wait, cancel := context.WithTimeout(ctx, credentialTime)
	defer cancel()
	if _, err := cfg.Credentials.Retrieve(wait); err != nil {
		return nil, errors.New("no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run " +
			"where a role gives them")
	}
	s := &s3Store{}
	s.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if c, ok := o.HTTPClient.(*awshttp.BuildableClient); ok {
			o.HTTPClient = &http.Client{Transport: c.GetTransport(), Timeout: c.GetTimeout(), CheckRedirect: storage.StayHome}
		}
		if o.BaseEndpoint == nil {
			return
		}
		s.endpoint = *o.BaseEndpoint
		o.UsePathStyle = true
		// Checksums that the API does not demand are Amazon's own addition.
		o.RequestChecksumCalculation, o.ResponseChecksumValidation = aws.RequestChecksumCalculationWhenRequired,
			aws.ResponseChecksumValidationWhenRequired
	})
	return s, nil
}

func (s *s3Store) list(ctx context.Context, bucket, prefix string, each func(string)) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.explain(bucket, err)
		}
		for _, o := range page.Contents {
			each(aws.ToString(o.Key))
		}
	}
	return nil
}

func (s *s3Store) stat(ctx context.Context, bucket, key string) (int64, string, error) {
	o, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return 0, "", s.explain(bucket, err)
	}
	return aws.ToInt64(o.ContentLength), aws.ToString(o.ETag), nil
}

func (s *s3Store) read(ctx context.Context, bucket, key, version string, off, n int64) (io.ReadCloser, error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if version != "" {
		in.IfMatch = &version
	}
	if n >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	}
	o, err := s.client.GetObject(ctx, in)
	if err != nil {
		return nil, s.explain(bucket, err)
	}
	if version != "" && aws.ToString(o.ETag) != version { // some servers do not know If-Match
		return nil, errors.Join(errReplaced, o.Body.Close())
	}
	return o.Body, nil
}

func (s *s3Store) put(ctx context.Context, bucket, key string, r io.Reader) error {
	u := transfermanager.New(s.client, func(o *transfermanager.Options) {
		if s.endpoint != "" {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
	})
	_, err := u.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &bucket, Key: &key, Body: r})
	return s.explain(bucket, err)
}

func (s *s3Store) remove(ctx context.Context, bucket, key string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key})
	return s.explain(bucket, err)
}

// explain says in words what a person can mend.
func (s *s3Store) explain(bucket string, err error) error {
	if err == nil {
		return nil
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound":
			return fmt.Errorf("there is no such object: %w", fs.ErrNotExist)
		case "NoSuchBucket":
			return fmt.Errorf("there is no bucket %s", bucket)
		case "AccessDenied", "Forbidden":
			return fmt.Errorf("the credentials do not allow this on the bucket %s: %w", bucket, fs.ErrPermission)
		case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken":
			return fmt.Errorf("the AWS credentials are refused (%s)", api.ErrorCode())
		case "PermanentRedirect", "MovedPermanently":
			return fmt.Errorf("the bucket %s is in another region: set AWS_REGION", bucket)
		case "TemporaryRedirect", "Redirect", "Found", "SeeOther":
			return fmt.Errorf("the server of the bucket %s sends on to another address, where the credentials do not go: set AWS_REGION "+
				"or AWS_ENDPOINT_URL to where the bucket is", bucket)
		case "PreconditionFailed":
			return errReplaced
		}
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	}
	var n *net.OpError
	if errors.As(err, &n) {
		where := "Amazon S3"
		if s.endpoint != "" {
			where = s.endpoint + " (AWS_ENDPOINT_URL)"
		}
		return fmt.Errorf("%s does not answer: %w", where, n)
	}
	return err
}
