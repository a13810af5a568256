package storagetest

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// GCS answers as the JSON API of Google Cloud Storage does: objects' attributes, contents (also by the paths of the XML API, by which
// Google's client reads), lists, uploads of all three types, generations and their preconditions. It asks for no credentials.
type GCS struct {
	*Store
	Faults

	sessions sessions
}

// Handler returns the server with its faults.
func (s *GCS) Handler() http.Handler { return s.wrap(http.HandlerFunc(s.serve), s.refuse) }

// gcsError is an error as Google writes it.
type gcsError struct {
	status  int
	reason  string
	message string
}

func (e *gcsError) Error() string { return e.message }

var (
	errCondition = &gcsError{412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold."}
	errUnknown   = &gcsError{501, "notImplemented", "This server does not have that"}
)

var gcsFaults = map[string]*gcsError{
	Throttle:  {429, "rateLimitExceeded", "The rate of changes exceeds the limit"},
	Broken:    {500, "backendError", "An internal error"},
	Expired:   {401, "authError", "Invalid Credentials"},
	Forbidden: {403, "forbidden", "The account does not have storage.objects access"},
	Conflict:  {409, "conflict", "A conflicting operation is on its way"},
}

func (s *GCS) refuse(w http.ResponseWriter, r *http.Request, kind string) {
	io.Copy(io.Discard, r.Body)
	s.fail(w, gcsFaults[kind])
}

func (s *GCS) fail(w http.ResponseWriter, err error) {
	var e *gcsError
	switch {
	case errors.As(err, &e):
	case errors.Is(err, errNoBucket):
		e = &gcsError{404, "notFound", "The specified bucket does not exist."}
	case errors.Is(err, errNoObject):
		e = &gcsError{404, "notFound", "No such object"}
	default:
		e = &gcsError{500, "backendError", err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": e.status, "message": e.message,
		"errors": []any{map[string]any{"domain": "global", "reason": e.reason, "message": e.message}}}})
}

func (s *GCS) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func crcText(c uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, c))
}

// resource is an object as the JSON API has it.
func resource(o *Object) map[string]any {
	return map[string]any{"kind": "storage#object", "id": fmt.Sprintf("%s/%s/%d", o.Bucket, o.Key, o.Generation), "name": o.Key,
		"bucket": o.Bucket, "size": fmt.Sprint(o.Size), "generation": fmt.Sprint(o.Generation),
		"metageneration": fmt.Sprint(o.Metageneration), "contentType": o.ContentType, "metadata": o.Meta,
		"timeCreated": o.Created.Format(time.RFC3339Nano), "updated": o.Modified.Format(time.RFC3339Nano),
		"md5Hash": base64.StdEncoding.EncodeToString(o.MD5), "crc32c": crcText(o.CRC32C), "etag": o.ETag}
}

// conditions is the check of a request's preconditions, in the words of either API.
func conditions(r *http.Request) func(*Object) error {
	q := r.URL.Query()
	want := func(name, header string) (int64, bool) {
		v := q.Get(name)
		if v == "" {
			v = r.Header.Get(header)
		}
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return func(o *Object) error {
		var gen, metagen int64
		if o != nil {
			gen, metagen = o.Generation, o.Metageneration
		}
		if n, ok := want("ifGenerationMatch", "x-goog-if-generation-match"); ok && n != gen {
			return errCondition
		}
		if n, ok := want("ifMetagenerationMatch", "x-goog-if-metageneration-match"); ok && n != metagen {
			return errCondition
		}
		if n, ok := want("ifGenerationNotMatch", ""); ok && n == gen {
			return errCondition
		}
		if n, ok := want("generation", ""); ok && n != gen { // of a bucket without versions there is no other one
			return errNoObject
		}
		return nil
	}
}

func (s *GCS) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", s.now().Format(http.TimeFormat))
	if err := s.route(w, r); err != nil {
		s.fail(w, err)
	}
}

// route reads paths escaped, since a slash in an object's name is %2F.
func (s *GCS) route(w http.ResponseWriter, r *http.Request) error {
	p := r.URL.EscapedPath()
	p, upload := strings.CutPrefix(p, "/upload")
	p, download := strings.CutPrefix(p, "/download")
	p, api := strings.CutPrefix(p, "/storage/v1")
	if rest, ok := strings.CutPrefix(p, "/resumable/"); ok { // the address of an upload session
		return s.resume(w, r, rest)
	}
	rest, isAPI := strings.CutPrefix(p, "/b/")
	if !isAPI && !api { // /BUCKET/OBJECT, of the XML API
		bucket, key, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
		return s.named(w, r, bucket, key, true)
	}
	bucket, rest, _ := strings.Cut(rest, "/")
	bucket, err := url.PathUnescape(bucket)
	if err != nil {
		return &gcsError{400, "invalid", err.Error()}
	}
	if bucket == "" && r.Method == http.MethodPost {
		var b struct{ Name string }
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil || b.Name == "" {
			return &gcsError{400, "invalid", "a bucket needs a name"}
		}
		s.answer(w, map[string]any{"kind": "storage#bucket", "name": b.Name})
		return s.MakeBucket(b.Name)
	}
	if !s.HasBucket(bucket) {
		return errNoBucket
	}
	switch {
	case rest == "":
		s.answer(w, map[string]any{"kind": "storage#bucket", "name": bucket, "metageneration": "1"})
		return nil
	case upload:
		return s.upload(w, r, bucket)
	case rest == "o" && r.Method == http.MethodGet:
		return s.listObjects(w, r.URL.Query(), bucket)
	case strings.HasPrefix(rest, "o/"):
		return s.named(w, r, bucket, rest[2:], download || r.URL.Query().Get("alt") == "media")
	}
	return errUnknown
}

// named answers a request for one object.
func (s *GCS) named(w http.ResponseWriter, r *http.Request, bucket, escaped string, media bool) error {
	key, err := url.PathUnescape(escaped)
	if err != nil {
		return &gcsError{400, "invalid", err.Error()}
	}
	check := conditions(r)
	if r.Method == http.MethodDelete {
		if err := s.remove(bucket, key, check); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	o, err := s.get(bucket, key)
	if err == nil {
		err = check(o)
	}
	if err != nil {
		return err
	}
	switch {
	case r.Method == http.MethodPatch:
		return s.patch(w, r, o)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return errUnknown
	case !media:
		s.answer(w, resource(o))
		return nil
	}
	f, err := o.blob.open()
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", o.ContentType)
	h.Set("X-Goog-Generation", fmt.Sprint(o.Generation))
	h.Set("X-Goog-Metageneration", fmt.Sprint(o.Metageneration))
	h.Set("X-Goog-Hash", "crc32c="+crcText(o.CRC32C))
	for k, v := range o.Meta {
		h.Set("X-Goog-Meta-"+k, v)
	}
	http.ServeContent(w, r, "", o.Modified, f)
	return nil
}

// patch changes an object's metadata, which has generations of its own.
func (s *GCS) patch(w http.ResponseWriter, r *http.Request, o *Object) error {
	var in struct{ Metadata map[string]string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return &gcsError{400, "invalid", err.Error()}
	}
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	if s.buckets[o.Bucket][o.Key] != o {
		return errCondition
	}
	next := *o
	next.Meta = map[string]string{}
	for _, m := range []map[string]string{o.Meta, in.Metadata} {
		for k, v := range m {
			next.Meta[k] = v
		}
	}
	next.Metageneration, next.Modified = o.Metageneration+1, s.now()
	s.buckets[o.Bucket][o.Key] = &next
	if s.dir != "" {
		if err := s.save(&next); err != nil {
			return err
		}
	}
	s.answer(w, resource(&next))
	return nil
}

func (s *GCS) listObjects(w http.ResponseWriter, q url.Values, bucket string) error {
	most := 1000
	if n, err := strconv.Atoi(q.Get("maxResults")); err == nil && n > 0 {
		most = min(most, n)
	}
	if q.Get("delimiter") != "" {
		return errUnknown
	}
	after, err := base64.URLEncoding.DecodeString(q.Get("pageToken"))
	if err != nil {
		return &gcsError{400, "invalid", "pageToken"}
	}
	page, more, err := s.list(bucket, q.Get("prefix"), string(after), most)
	if err != nil {
		return err
	}
	items := []any{}
	for _, o := range page {
		items = append(items, resource(o))
	}
	out := map[string]any{"kind": "storage#objects", "items": items}
	if more {
		out["nextPageToken"] = base64.URLEncoding.EncodeToString([]byte(page[len(page)-1].Key))
	}
	s.answer(w, out)
	return nil
}
