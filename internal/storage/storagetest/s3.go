package storagetest

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// S3 answers as Amazon S3 does to requests in path style: objects and parts of them, ListObjectsV2, multipart uploads, If-None-Match and
// If-Match on PutObject, CompleteMultipartUpload and DeleteObject. That a request is signed (Signature Version 4) is asked, and whose key
// it is; the signature is not computed.
type S3 struct {
	*Store
	Faults
	Key string // the access key that may ask; "" is any
	// Loose makes it a server that does not know preconditions and overwrites, as older ones do.
	Loose bool

	uploads uploads
}

// Handler returns the server with its faults.
func (s *S3) Handler() http.Handler { return s.wrap(http.HandlerFunc(s.serve), s.refuse) }

// s3Error is an error as S3 writes it.
type s3Error struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	status  int
}

func (e *s3Error) Error() string { return e.Code + ": " + e.Message }

var (
	errPrecondition = &s3Error{Code: "PreconditionFailed", Message: "At least one of the preconditions did not hold", status: 412}
	errNoKey        = &s3Error{Code: "NoSuchKey", Message: "The key does not exist", status: 404}
	errNoUpload     = &s3Error{Code: "NoSuchUpload", Message: "The upload does not exist", status: 404}
	errNotThere     = &s3Error{Code: "NotImplemented", Message: "This server does not have that", status: 501}
	errDenied       = &s3Error{Code: "AccessDenied", Message: "Access Denied", status: 403}
)

// s3Faults are the answers of faults.
var s3Faults = map[string]*s3Error{
	Throttle:  {Code: "SlowDown", Message: "Reduce your request rate", status: 503},
	Broken:    {Code: "InternalError", Message: "An internal error", status: 500},
	Expired:   {Code: "ExpiredToken", Message: "The token has expired", status: 400},
	Forbidden: errDenied,
	Conflict:  {Code: "ConditionalRequestConflict", Message: "A conflicting operation is on its way", status: 409},
}

func (s *S3) refuse(w http.ResponseWriter, r *http.Request, kind string) {
	io.Copy(io.Discard, r.Body)
	s.fail(w, r, s3Faults[kind])
}

func (s *S3) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *s3Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, errNoBucket):
		e = &s3Error{Code: "NoSuchBucket", Message: err.Error(), status: 404}
	case errors.Is(err, errNoObject):
		e = errNoKey
	default:
		e = &s3Error{Code: "InternalError", Message: err.Error(), status: 500}
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead {
		xml.NewEncoder(w).Encode(e)
	}
}

func (s *S3) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(v)
}

// key returns the access key that a request is signed with.
func signedBy(r *http.Request) (string, bool) {
	credential, signature := r.URL.Query().Get("X-Amz-Credential"), r.URL.Query().Get("X-Amz-Signature")
	if rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "); ok {
		for _, f := range strings.Split(rest, ",") {
			switch k, v, _ := strings.Cut(strings.TrimSpace(f), "="); k {
			case "Credential":
				credential = v
			case "Signature":
				signature = v
			}
		}
	}
	key, _, _ := strings.Cut(credential, "/")
	return key, key != "" && len(signature) == 64 && strings.HasSuffix(credential, "/s3/aws4_request")
}

func (s *S3) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.now().Format(http.TimeFormat))
	key, signed := signedBy(r)
	switch {
	case !signed:
		s.fail(w, r, errDenied)
		return
	case s.Key != "" && key != s.Key:
		s.fail(w, r, &s3Error{Code: "InvalidAccessKeyId", Message: "The access key is not known", status: 403})
		return
	}
	if s.Loose {
		r.Header.Del("If-None-Match")
		r.Header.Del("If-Match")
	}
	bucket, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if err := s.route(w, r, bucket, name); err != nil {
		s.fail(w, r, err)
	}
}

func (s *S3) route(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	q := r.URL.Query()
	switch {
	case bucket == "":
		return errNotThere
	case key == "" && r.Method == http.MethodPut:
		return s.MakeBucket(bucket)
	case !s.HasBucket(bucket):
		return errNoBucket
	case key == "" && r.Method == http.MethodPost && q.Has("delete"):
		return s.deleteMany(w, r, bucket)
	case key == "" && r.Method == http.MethodGet && q.Has("location"):
		s.answer(w, struct {
			XMLName xml.Name `xml:"LocationConstraint"`
		}{})
		return nil
	case key == "" && r.Method == http.MethodGet && q.Has("uploads"):
		s.listUploads(w, q.Get("prefix"), bucket)
		return nil
	case key == "" && r.Method == http.MethodGet:
		return s.listV2(w, q, bucket)
	case key == "" && r.Method == http.MethodHead:
		return nil
	case key == "":
		return errNotThere
	case q.Has("uploads") || q.Has("uploadId"):
		return s.multipart(w, r, bucket, key)
	case r.Method == http.MethodPut && r.Header.Get("x-amz-copy-source") != "":
		return errNotThere
	case r.Method == http.MethodPut:
		return s.putObject(w, r, bucket, key)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return s.getObject(w, r, bucket, key)
	case r.Method == http.MethodDelete:
		err := s.remove(bucket, key, matches(r, false))
		if err == nil || errors.Is(err, errNoObject) {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return err
	}
	return errNotThere
}

// matches is the check of a request's preconditions. A write with If-Match of an object that is not there is NoSuchKey.
func matches(r *http.Request, write bool) func(*Object) error {
	none, match := r.Header.Get("If-None-Match"), strings.Trim(r.Header.Get("If-Match"), `"`)
	return func(old *Object) error {
		switch {
		case none == "*" && old != nil:
			return errPrecondition
		case match == "" || old != nil && (match == "*" || match == old.ETag):
			return nil
		case old == nil && write:
			return errNoKey
		case old == nil:
			return nil
		}
		return errPrecondition
	}
}

// meta are the x-amz-meta- headers of a request.
func meta(h http.Header) map[string]string {
	out := map[string]string{}
	for k := range h {
		if name, ok := strings.CutPrefix(strings.ToLower(k), "x-amz-meta-"); ok {
			out[name] = h.Get(k)
		}
	}
	return out
}

func (s *S3) putObject(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	b, err := s.receive(decoded(r))
	if err != nil {
		return &s3Error{Code: "IncompleteBody", Message: err.Error(), status: 400}
	}
	if want := r.Header.Get("Content-MD5"); want != "" && want != base64.StdEncoding.EncodeToString(b.md5) {
		b.drop()
		return &s3Error{Code: "BadDigest", Message: "Content-MD5 is not the content's", status: 400}
	}
	o, err := s.put(Object{Bucket: bucket, Key: key, ContentType: r.Header.Get("Content-Type"), Meta: meta(r.Header)}, b, "",
		matches(r, true))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+o.ETag+`"`)
	return nil
}

func (s *S3) getObject(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	o, err := s.get(bucket, key)
	if err != nil {
		return err
	}
	if err := matches(r, false)(o); err != nil {
		return err
	}
	f, err := o.blob.open()
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("ETag", `"`+o.ETag+`"`)
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Type", o.ContentType)
	if o.ContentType == "" {
		h.Set("Content-Type", "binary/octet-stream")
	}
	for k, v := range o.Meta {
		h.Set("x-amz-meta-"+k, v)
	}
	r.Header.Del("If-Match") // answered above
	http.ServeContent(w, r, "", o.Modified, f)
	return nil
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
	StorageClass string
}

type listResult struct {
	XMLName                                  xml.Name `xml:"ListBucketResult"`
	Name, Prefix                             string
	Delimiter, EncodingType                  string `xml:",omitempty"`
	ContinuationToken, NextContinuationToken string `xml:",omitempty"`
	KeyCount, MaxKeys                        int
	IsTruncated                              bool
	Contents                                 []listed
	CommonPrefixes                           []commonPrefix
}

type commonPrefix struct{ Prefix string }

func (s *S3) listV2(w http.ResponseWriter, q url.Values, bucket string) error {
	if q.Get("list-type") != "2" {
		return errNotThere
	}
	most := 1000
	if n, err := strconv.Atoi(q.Get("max-keys")); err == nil && n >= 0 {
		most = min(most, n)
	}
	out := listResult{Name: bucket, Prefix: q.Get("prefix"), Delimiter: q.Get("delimiter"), MaxKeys: most,
		ContinuationToken: q.Get("continuation-token"), EncodingType: q.Get("encoding-type")}
	name := func(k string) string {
		if out.EncodingType == "url" {
			return strings.ReplaceAll(url.QueryEscape(k), "%2F", "/")
		}
		return k
	}
	after := q.Get("start-after")
	if t, err := base64.URLEncoding.DecodeString(out.ContinuationToken); err == nil && len(t) > 0 {
		after = string(t)
	}
	for {
		page, more, err := s.list(bucket, out.Prefix, after, most-len(out.Contents)-len(out.CommonPrefixes))
		if err != nil {
			return err
		}
		for _, o := range page {
			after = o.Key
			if rest := o.Key[len(out.Prefix):]; out.Delimiter != "" && strings.Contains(rest, out.Delimiter) {
				head, _, _ := strings.Cut(rest, out.Delimiter)
				common := out.Prefix + head + out.Delimiter
				out.CommonPrefixes = append(out.CommonPrefixes, commonPrefix{name(common)})
				after, more = common+"\xff", true // beyond all keys of the prefix, since \xff is in no UTF-8
				break
			}
			out.Contents = append(out.Contents, listed{name(o.Key), o.Modified.Truncate(time.Second).Format("2006-01-02T15:04:05.000Z"),
				`"` + o.ETag + `"`, o.Size, "STANDARD"})
		}
		if out.KeyCount = len(out.Contents) + len(out.CommonPrefixes); !more || out.KeyCount >= most {
			if out.IsTruncated = more && most > 0; out.IsTruncated {
				out.NextContinuationToken = base64.URLEncoding.EncodeToString([]byte(after))
			}
			break
		}
	}
	s.answer(w, out)
	return nil
}

func (s *S3) deleteMany(w http.ResponseWriter, r *http.Request, bucket string) error {
	var in struct {
		Quiet  bool
		Object []struct{ Key string }
	}
	if err := xml.NewDecoder(decoded(r)).Decode(&in); err != nil {
		return &s3Error{Code: "MalformedXML", Message: err.Error(), status: 400}
	}
	out := struct {
		XMLName xml.Name `xml:"DeleteResult"`
		Deleted []struct{ Key string }
	}{}
	for _, o := range in.Object {
		if err := s.remove(bucket, o.Key, nil); err != nil && !errors.Is(err, errNoObject) {
			return err
		}
		if !in.Quiet {
			out.Deleted = append(out.Deleted, struct{ Key string }{o.Key})
		}
	}
	s.answer(w, out)
	return nil
}
