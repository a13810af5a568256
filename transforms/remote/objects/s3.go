package objects

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

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
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryer(func() aws.Retryer { return newS3Retryer() }),
		config.WithLogger(logging.Nop{})) // what fails is an error: a line of the library's own would stand in the program's log
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
			o.HTTPClient = &http.Client{Transport: newTransport(c.GetTransport()), Timeout: c.GetTimeout(), CheckRedirect: storage.StayHome}
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

func (s *s3Store) list(ctx context.Context, bucket, prefix string, each func(object) error) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.explain(bucket, err)
		}
		for _, o := range page.Contents {
			if err := each(object{key: aws.ToString(o.Key), size: aws.ToInt64(o.Size), version: aws.ToString(o.ETag),
				modified: aws.ToTime(o.LastModified)}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *s3Store) stat(ctx context.Context, bucket, key string) (object, error) {
	o, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err == nil {
		return object{key, aws.ToInt64(o.ContentLength), aws.ToString(o.ETag), aws.ToTime(o.LastModified), o.Metadata[markName]}, nil
	}
	if a := (*awshttp.ResponseError)(nil); errors.As(err, &a) &&
		(a.HTTPStatusCode() == http.StatusBadRequest || a.HTTPStatusCode() == http.StatusForbidden) {
		// The answer to HEAD has no body that says why; the one to GET has.
		g, gerr := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String("bytes=0-0")})
		if gerr == nil {
			g.Body.Close()
		} else {
			err = gerr
		}
	}
	return object{}, s.explain(bucket, err)
}

func (s *s3Store) read(ctx context.Context, bucket, key, version string, off, n int64) (io.ReadCloser, object, error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if version != "" {
		in.IfMatch = &version
	}
	if n >= 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	}
	o, err := s.client.GetObject(ctx, in)
	if err != nil {
		if err = s.explain(bucket, err); errors.Is(err, storage.ErrChanged) {
			err = errReplaced
		}
		return nil, object{}, err
	}
	if version != "" && aws.ToString(o.ETag) != version { // some servers do not know If-Match
		return nil, object{}, errors.Join(errReplaced, o.Body.Close())
	}
	return o.Body, object{key, aws.ToInt64(o.ContentLength), aws.ToString(o.ETag), aws.ToTime(o.LastModified), o.Metadata[markName]}, nil
}

func (s *s3Store) put(ctx context.Context, bucket, key string, r io.Reader, o putOptions) (string, error) {
	u := transfermanager.New(s.client, func(o *transfermanager.Options) {
		if s.endpoint != "" {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		}
	})
	in := &transfermanager.UploadObjectInput{Bucket: &bucket, Key: &key, Body: r}
	if o.absent {
		in.IfNoneMatch = aws.String("*")
	} else if o.version != "" {
		in.IfMatch = &o.version
	}
	if o.mark != "" {
		in.Metadata = map[string]string{markName: o.mark}
	}
	out, err := u.UploadObject(ctx, in)
	if err != nil {
		return "", s.explain(bucket, err)
	}
	return aws.ToString(out.ETag), nil
}

// endUploads ends the uploads in parts that were begun before a time.
func (s *s3Store) endUploads(ctx context.Context, bucket, prefix string, before time.Time) (n int64, err error) {
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, s.explain(bucket, err)
		}
		for _, u := range page.Uploads {
			if !aws.ToTime(u.Initiated).Before(before) {
				continue
			}
			_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: u.Key, UploadId: u.UploadId})
			switch err := s.explain(bucket, err); {
			case err == nil:
				n++
			case !errors.Is(err, errNoUpload):
				return n, err
			}
		}
	}
	return n, nil
}

func (s *s3Store) remove(ctx context.Context, bucket, key, version string) error {
	in := &s3.DeleteObjectInput{Bucket: &bucket, Key: &key}
	if version != "" {
		in.IfMatch = &version
	}
	_, err := s.client.DeleteObject(ctx, in)
	return s.explain(bucket, err)
}
