package storagetest

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
)

// sessions are the resumable uploads. A finished one keeps its answer, for who asks again since the first answer was lost.
type sessions struct {
	mu   sync.Mutex
	n    int
	open map[string]*session
}

type session struct {
	Object
	check func(*Object) error
	file  *os.File // what has come
	size  int64
	done  map[string]any
	err   error
}

// insert is what the first part of an upload says of the object.
type insert struct {
	Name, ContentType, Crc32c string
	Metadata                  map[string]string
}

func (s *GCS) upload(w http.ResponseWriter, r *http.Request, bucket string) error {
	q := r.URL.Query()
	in := insert{Name: q.Get("name")}
	switch q.Get("uploadType") {
	case "media":
		in.ContentType = r.Header.Get("Content-Type")
		return s.store(w, r, bucket, in, r.Body)
	case "multipart":
		_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil {
			return &gcsError{400, "invalid", err.Error()}
		}
		parts := multipart.NewReader(r.Body, params["boundary"])
		first, err := parts.NextPart()
		if err == nil {
			err = json.NewDecoder(first).Decode(&in)
		}
		if err != nil {
			return &gcsError{400, "invalid", err.Error()}
		}
		media, err := parts.NextPart()
		if err != nil {
			return &gcsError{400, "invalid", err.Error()}
		}
		if in.ContentType == "" {
			in.ContentType = media.Header.Get("Content-Type")
		}
		return s.store(w, r, bucket, in, media)
	case "resumable":
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil && err != io.EOF {
			return &gcsError{400, "invalid", err.Error()}
		}
		return s.start(w, r, bucket, in)
	}
	return errUnknown
}

func (s *GCS) store(w http.ResponseWriter, r *http.Request, bucket string, in insert, body io.Reader) error {
	if in.Name == "" {
		return &gcsError{400, "required", "an object needs a name"}
	}
	b, err := s.receive(body)
	if err != nil {
		return &gcsError{400, "invalid", err.Error()}
	}
	if in.Crc32c != "" && in.Crc32c != crcText(b.crc) {
		b.drop()
		return &gcsError{400, "invalid", "crc32c is not the content's"}
	}
	o, err := s.put(Object{Bucket: bucket, Key: in.Name, ContentType: in.ContentType, Meta: in.Metadata}, b, "", conditions(r))
	if err != nil {
		return err
	}
	s.answer(w, resource(o))
	return nil
}

// start begins a resumable upload: the answer's Location is where its parts go.
func (s *GCS) start(w http.ResponseWriter, r *http.Request, bucket string, in insert) error {
	if in.Name == "" {
		return &gcsError{400, "required", "an object needs a name"}
	}
	f, err := os.CreateTemp("", "resumable-*")
	if err != nil {
		return err
	}
	os.Remove(f.Name())
	if in.ContentType == "" {
		in.ContentType = r.Header.Get("X-Upload-Content-Type")
	}
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	if s.sessions.open == nil {
		s.sessions.open = map[string]*session{}
	}
	s.sessions.n++
	id := strconv.Itoa(s.sessions.n)
	s.sessions.open[id] = &session{check: conditions(r), file: f,
		Object: Object{Bucket: bucket, Key: in.Name, ContentType: in.ContentType, Meta: in.Metadata}}
	w.Header().Set("Location", fmt.Sprintf("http://%s/resumable/%s", r.Host, id))
	return nil
}

// resume takes a part: "Content-Range: bytes FROM-TO/TOTAL", * for a total that is not known yet and for no part at all.
func (s *GCS) resume(w http.ResponseWriter, r *http.Request, id string) error {
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	u := s.sessions.open[id]
	if u == nil {
		return &gcsError{404, "notFound", "there is no such upload"}
	}
	span, total, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "/")
	if !ok {
		span, total = "0-", "" // all of it
	}
	if u.done == nil && u.err == nil && span != "*" {
		from, err := strconv.ParseInt(strings.Split(span, "-")[0], 10, 64)
		if err != nil || from > u.size {
			return &gcsError{400, "invalid", "Content-Range does not go on where the upload is"}
		}
		n, err := io.Copy(io.NewOffsetWriter(u.file, from), r.Body) // bytes that came before are written again
		if u.size = max(u.size, from+n); err != nil {
			return &gcsError{400, "invalid", err.Error()}
		}
	}
	if want, err := strconv.ParseInt(total, 10, 64); u.done == nil && u.err == nil && (!ok || err == nil && want == u.size) {
		b, err := s.receive(io.NewSectionReader(u.file, 0, u.size))
		if err != nil {
			return err
		}
		u.file.Close()
		o, err := s.put(u.Object, b, "", u.check)
		if u.err = err; err == nil {
			u.done = resource(o)
		}
	}
	switch {
	case u.err != nil:
		return u.err
	case u.done != nil:
		s.answer(w, u.done)
		return nil
	}
	if u.size > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", u.size-1))
	}
	if r.Header.Get("X-GUploader-No-308") == "yes" { // so Google's Go client asks
		w.Header().Set("X-Http-Status-Code-Override", "308")
		return nil
	}
	w.WriteHeader(http.StatusPermanentRedirect)
	return nil
}
