package objects

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// gsServer answers what the client of Google Cloud Storage asks for here, for the one bucket "bucket".
type gsServer struct {
	mu      sync.Mutex
	objects map[string][]byte
	uploads map[string]string // names of uploads in several parts
}

func (s *gsServer) attrs(name string) map[string]any {
	return map[string]any{"kind": "storage#object", "name": name, "bucket": "bucket",
		"size": fmt.Sprint(len(s.objects[name])), "generation": "1"}
}

func (s *gsServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := func(v any) { json.NewEncoder(w).Encode(v) }
	p, _ := url.PathUnescape(r.URL.EscapedPath())
	upload := strings.HasPrefix(p, "/upload/")
	p = strings.TrimPrefix(strings.TrimPrefix(p, "/upload"), "/storage/v1")
	switch {
	case !strings.HasPrefix(p, "/b/bucket/") && !strings.HasPrefix(p, "/bucket/"):
		w.WriteHeader(http.StatusNotFound)
		answer(map[string]any{"error": map[string]any{"code": 404, "message": "The specified bucket does not exist."}})
	case upload && r.URL.Query().Get("uploadType") == "multipart":
		_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		parts := multipart.NewReader(r.Body, params["boundary"])
		meta, _ := parts.NextPart()
		var o struct{ Name string }
		json.NewDecoder(meta).Decode(&o)
		media, _ := parts.NextPart()
		s.objects[o.Name], _ = io.ReadAll(media)
		answer(s.attrs(o.Name))
	case upload && r.URL.Query().Get("upload_id") == "":
		var o struct{ Name string }
		json.NewDecoder(r.Body).Decode(&o)
		if o.Name == "" {
			o.Name = r.URL.Query().Get("name")
		}
		id := fmt.Sprint(len(s.uploads))
		s.uploads[id] = o.Name
		w.Header().Set("Location", "http://"+r.Host+r.URL.Path+"?uploadType=resumable&upload_id="+id)
	case upload:
		id := r.URL.Query().Get("upload_id")
		b, _ := io.ReadAll(r.Body)
		s.objects["upload "+id] = append(s.objects["upload "+id], b...)
		if strings.HasSuffix(r.Header.Get("Content-Range"), "/*") {
			w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.objects["upload "+id])-1))
			w.Header().Set("X-Http-Status-Code-Override", "308")
			return
		}
		s.objects[s.uploads[id]] = s.objects["upload "+id]
		delete(s.objects, "upload "+id)
		answer(s.attrs(s.uploads[id]))
	case p == "/b/bucket/o":
		var items []any
		var names []string
		for n := range s.objects {
			if strings.HasPrefix(n, r.URL.Query().Get("prefix")) {
				names = append(names, n)
			}
		}
		slices.Sort(names)
		for _, n := range names {
			items = append(items, s.attrs(n))
		}
		answer(map[string]any{"kind": "storage#objects", "items": items})
	default:
		name := strings.TrimPrefix(strings.TrimPrefix(p, "/b/bucket/o/"), "/bucket/")
		b, ok := s.objects[name]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodDelete:
			delete(s.objects, name)
			w.WriteHeader(http.StatusNoContent)
		case strings.HasPrefix(p, "/bucket/"):
			w.Header().Set("X-Goog-Generation", "1")
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(b)))
		default:
			answer(s.attrs(name))
		}
	}
}

func TestGCS(t *testing.T) {
	s := httptest.NewServer(&gsServer{objects: map[string][]byte{}, uploads: map[string]string{}})
	defer s.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(s.URL, "http://"))
	fresh(t)
	roundTrip(t, "gs://bucket/")
}
