package storagetest

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// uploads are the multipart uploads on their way. They live in memory: their process's end ends them.
type uploads struct {
	mu   sync.Mutex
	n    int
	open map[string]*s3Upload
}

type s3Upload struct {
	Object
	parts map[int]*blob
}

// smallestPart is the least that a part other than the last may have.
const smallestPart = 5 << 20

func (s *S3) multipart(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	q := r.URL.Query()
	s.uploads.mu.Lock()
	u := s.uploads.open[q.Get("uploadId")]
	s.uploads.mu.Unlock()
	if q.Has("uploadId") && (u == nil || u.Bucket != bucket || u.Key != key) {
		return errNoUpload
	}
	switch {
	case q.Has("uploads") && r.Method == http.MethodPost:
		return s.begin(w, r, bucket, key)
	case u == nil:
		return errNotThere
	case r.Method == http.MethodPut:
		n, err := strconv.Atoi(q.Get("partNumber"))
		if err != nil || n < 1 || n > 10000 {
			return &s3Error{Code: "InvalidArgument", Message: "partNumber is from 1 to 10000", status: 400}
		}
		b, err := s.receive(decoded(r))
		if err != nil {
			return &s3Error{Code: "IncompleteBody", Message: err.Error(), status: 400}
		}
		s.uploads.mu.Lock()
		old := u.parts[n]
		u.parts[n] = b
		s.uploads.mu.Unlock()
		if old != nil {
			old.drop()
		}
		w.Header().Set("ETag", `"`+hex.EncodeToString(b.md5)+`"`)
		return nil
	case r.Method == http.MethodPost:
		return s.complete(w, r, u)
	case r.Method == http.MethodDelete:
		s.end(q.Get("uploadId"))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return errNotThere
}

func (s *S3) begin(w http.ResponseWriter, r *http.Request, bucket, key string) error {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	if s.uploads.open == nil {
		s.uploads.open = map[string]*s3Upload{}
	}
	s.uploads.n++
	id := fmt.Sprintf("upload-%d", s.uploads.n)
	s.uploads.open[id] = &s3Upload{parts: map[int]*blob{},
		Object: Object{Bucket: bucket, Key: key, Created: s.now(), ContentType: r.Header.Get("Content-Type"), Meta: meta(r.Header)}}
	s.answer(w, struct {
		XMLName               xml.Name `xml:"InitiateMultipartUploadResult"`
		Bucket, Key, UploadId string
	}{Bucket: bucket, Key: key, UploadId: id})
	return nil
}

// listUploads lists the uploads on their way, in one page.
func (s *S3) listUploads(w http.ResponseWriter, prefix, bucket string) {
	type upload struct{ Key, UploadId, Initiated string }
	out := struct {
		XMLName        xml.Name `xml:"ListMultipartUploadsResult"`
		Bucket, Prefix string
		IsTruncated    bool
		Upload         []upload
	}{Bucket: bucket, Prefix: prefix}
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.uploads.open)) {
		if u := s.uploads.open[id]; u.Bucket == bucket && strings.HasPrefix(u.Key, prefix) {
			out.Upload = append(out.Upload, upload{u.Key, id, u.Created.Format(time.RFC3339)})
		}
	}
	s.answer(w, out)
}

// Uploads is how many multipart uploads are on their way.
func (s *S3) Uploads() int {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	return len(s.uploads.open)
}

func (s *S3) end(id string) {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	for _, b := range s.uploads.open[id].parts {
		b.drop()
	}
	delete(s.uploads.open, id)
}

func (s *S3) complete(w http.ResponseWriter, r *http.Request, u *s3Upload) error {
	var in struct {
		Part []struct {
			PartNumber int
			ETag       string
		}
	}
	if err := xml.NewDecoder(decoded(r)).Decode(&in); err != nil {
		return &s3Error{Code: "MalformedXML", Message: err.Error(), status: 400}
	}
	var readers []io.Reader
	sums := md5.New()
	s.uploads.mu.Lock()
	defer func() {
		for _, f := range readers {
			f.(io.Closer).Close()
		}
	}()
	for i, p := range in.Part {
		b := u.parts[p.PartNumber]
		if b == nil || strings.Trim(p.ETag, `"`) != hex.EncodeToString(b.md5) || i > 0 && in.Part[i-1].PartNumber >= p.PartNumber {
			s.uploads.mu.Unlock()
			return &s3Error{Code: "InvalidPart", Message: fmt.Sprintf("part %d is not what was uploaded", p.PartNumber), status: 400}
		}
		if b.size < smallestPart && i < len(in.Part)-1 {
			s.uploads.mu.Unlock()
			return &s3Error{Code: "EntityTooSmall", Message: "a part that is not the last has less than 5 MiB", status: 400}
		}
		f, err := b.open()
		if err != nil {
			s.uploads.mu.Unlock()
			return err
		}
		readers = append(readers, f)
		sums.Write(b.md5)
	}
	s.uploads.mu.Unlock()
	whole, err := s.receive(io.MultiReader(readers...))
	if err != nil {
		return err
	}
	o, err := s.put(u.Object, whole, fmt.Sprintf("%x-%d", sums.Sum(nil), len(in.Part)), matches(r, true))
	if err != nil {
		return err
	}
	s.end(r.URL.Query().Get("uploadId"))
	s.answer(w, struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: o.Bucket, Key: o.Key, ETag: `"` + o.ETag + `"`})
	return nil
}

// decoded is a request's body without the chunks of "aws-chunked": SIZE[;chunk-signature=…] CRLF DATA CRLF …, a chunk of size 0, trailers.
func decoded(r *http.Request) io.Reader {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		return r.Body
	}
	return &chunks{r: bufio.NewReader(r.Body)}
}

type chunks struct {
	r    *bufio.Reader
	left int64
	end  bool
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.end {
		return 0, io.EOF
	}
	if c.left == 0 {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return 0, errors.Join(io.ErrUnexpectedEOF, err)
		}
		size, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
		if c.left, err = strconv.ParseInt(size, 16, 64); err != nil {
			return 0, fmt.Errorf("aws-chunked: %w", err)
		}
		if c.left == 0 {
			c.end = true
			_, err := io.Copy(io.Discard, c.r)
			if err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	if c.left -= int64(n); c.left == 0 && err == nil {
		_, err = c.r.Discard(2)
	}
	return n, err
}
