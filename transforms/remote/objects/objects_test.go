package objects

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
)

// fresh makes the process's clients anew for a test, from the environment that it sets.
func fresh(t *testing.T) {
	t.Helper()
	Register()
	oldS3, oldGS := s3Files, gsFiles
	s3Files, gsFiles = &files{scheme: "s3", open: openS3}, &files{scheme: "gs", open: openGCS}
	storage.Register("s3", s3Files)
	storage.Register("gs", gsFiles)
	t.Cleanup(func() {
		s3Files, gsFiles = oldS3, oldGS
		storage.Register("s3", s3Files)
		storage.Register("gs", gsFiles)
	})
}

// s3Server is an S3 server with the bucket "bucket", which the environment names.
func s3Server(t *testing.T) {
	t.Helper()
	storagetest.StartS3(t, "bucket")
	fresh(t)
}

// big is more than a store sends in one part, and more than the blocks that are kept.
func big() []byte {
	b := make([]byte, 23<<20+7)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b)
	return b
}

// roundTrip writes, lists, reads and removes on a store with the bucket "bucket".
func roundTrip(t *testing.T, root string) {
	data := big()
	for name, content := range map[string][]byte{"a/one.txt": []byte("one"), "a/two.txt": []byte("two"), "a/b/three.txt": []byte("three"),
		"a/big": data, "a/[x].txt": []byte("x"), "a/empty": {}} {
		if err := storage.WriteFile(root+name, content); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string][]string{
		"a/*.txt":   {"a/[x].txt", "a/one.txt", "a/two.txt"},
		"a/*/*.txt": {"a/b/three.txt"},
		"a/[x].txt": {"a/[x].txt"},
		"*/big":     {"a/big"},
	} {
		got, err := storage.Glob(root + pattern)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], root)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v %v, want %v", pattern, got, err, want)
		}
	}
	f, err := storage.OpenReaderAt(root + "a/big")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Size() != int64(len(data)) {
		t.Errorf("size %d, want %d", f.Size(), len(data))
	}
	if n, ranged, err := storage.RangeSize(root + "a/big"); n != int64(len(data)) || !ranged || err != nil {
		t.Errorf("%d %v %v", n, ranged, err)
	}
	whole, err := io.ReadAll(storage.NewReader(f))
	if err != nil || !bytes.Equal(whole, data) {
		t.Errorf("%d of %d bytes read as they were written: %v", len(whole), len(data), err)
	}
	for _, at := range []int{len(data) - 8, 0, 4<<20 - 3, 12 << 20} {
		p := make([]byte, 8)
		if _, err := f.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, data[at:at+8]) {
			t.Errorf("at %d: %x %v", at, p, err)
		}
	}
	if n, err := f.ReadAt(make([]byte, 8), int64(len(data)-3)); n != 3 || err != io.EOF {
		t.Errorf("over the end: %d %v", n, err)
	}
	if b, err := storage.ReadFile(root + "a/empty"); err != nil || len(b) != 0 {
		t.Errorf("%q %v", b, err)
	}
	for range 2 { // what does not exist is not an error
		if err := storage.Remove(root + "a/one.txt"); err != nil {
			t.Error(err)
		}
	}
	if ok, err := storage.Exists(root + "a/one.txt"); ok || err != nil {
		t.Errorf("%v %v", ok, err)
	}
	for pattern, want := range map[string]string{"a": "name the objects in it, as " + root + "a/*", "none*": "no file matches",
		"": "BUCKET/KEY", "a/[": "pattern"} {
		if _, err := storage.Glob(root + pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", pattern, err, want)
		}
	}
	if _, err := storage.OpenReaderAt(root + "none"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), root+"none") {
		t.Errorf("%v", err)
	}
	gone := strings.Replace(root, "bucket", "missing", 1)
	if _, err := storage.Glob(gone + "*"); err == nil || errors.Is(err, fs.ErrNotExist) ||
		!strings.Contains(err.Error(), "there is no bucket missing") {
		t.Errorf("%v", err)
	}
	if err := storage.WriteFile(gone+"x", nil); err == nil || !strings.Contains(err.Error(), "there is no bucket missing") {
		t.Errorf("%v", err)
	}
}

func TestGCS(t *testing.T) {
	storagetest.StartGCS(t, "bucket")
	fresh(t)
	roundTrip(t, "gs://bucket/")
}

func TestS3(t *testing.T) {
	s3Server(t)
	roundTrip(t, "s3://bucket/")
}

// TestReplaced: an object is read as it was opened, or not at all.
func TestReplaced(t *testing.T) {
	s3Server(t)
	if err := storage.WriteFile("s3://bucket/x", []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := storage.OpenReaderAt("s3://bucket/x")
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteFile("s3://bucket/x", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(make([]byte, 3), 0); n != 0 || err == nil || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("%d %v", n, err)
	}
}

// TestBeamRegistry: Beam's own transforms reach the server too.
func TestBeamRegistry(t *testing.T) {
	s3Server(t)
	ctx := t.Context()
	if _, err := filesystem.New(ctx, "s3://bucket/x"); err != nil {
		t.Fatal(err)
	}
	f := beamFiles{s3Files} // the registered one has the process's client
	w, err := f.OpenWrite(ctx, "s3://bucket/x")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "text")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := f.List(ctx, "s3://bucket/*"); err != nil || !slices.Equal(got, []string{"s3://bucket/x"}) {
		t.Errorf("%v %v", got, err)
	}
	if n, err := f.Size(ctx, "s3://bucket/x"); err != nil || n != 4 {
		t.Errorf("%d %v", n, err)
	}
	r, err := f.OpenRead(ctx, "s3://bucket/x")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "text" {
		t.Errorf("%q %v", b, err)
	}
	cut, cancel := context.WithCancel(ctx)
	if w, err = f.OpenWrite(cut, "s3://bucket/half"); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hal")
	cancel()
	if err := w.Close(); err == nil {
		t.Error("a cancelled write was published")
	}
	if _, err := f.OpenRead(ctx, "s3://bucket/half"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// TestSettings: what is wrong with the settings is one clear error.
func TestSettings(t *testing.T) {
	for _, c := range []struct{ name, endpoint, key, profile, want string }{
		{"no credentials", "http://localhost:1", "", "", "s3://bucket/x: no AWS credentials were found: set AWS_ACCESS_KEY_ID"},
		{"nobody there", "http://localhost:1", "key", "", "http://localhost:1 (AWS_ENDPOINT_URL) does not answer"},
		{"unknown profile", "", "", "mine", "the AWS settings cannot be used: failed to get shared config profile, mine"},
		{"no URL", "localhost", "key", "", "s3://bucket/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			storagetest.HideSettings(t)
			t.Setenv("AWS_ENDPOINT_URL", c.endpoint)
			t.Setenv("AWS_ACCESS_KEY_ID", c.key)
			t.Setenv("AWS_SECRET_ACCESS_KEY", c.key)
			t.Setenv("AWS_PROFILE", c.profile)
			t.Setenv("AWS_MAX_ATTEMPTS", "1")
			fresh(t)
			if _, err := storage.OpenReaderAt("s3://bucket/x"); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
		})
	}
}

// TestSentElsewhere: a server of objects that sends requests on to another address is not followed there with the credentials.
func TestSentElsewhere(t *testing.T) {
	var told []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range []string{"Authorization", "X-Amz-Security-Token"} {
			if r.Header.Get(h) != "" {
				told = append(told, r.Method+" "+r.URL.Path+" "+h)
			}
		}
	}))
	defer other.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", other.URL+r.URL.Path) // another port of the host
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	defer first.Close()
	storagetest.HideSettings(t)
	t.Setenv("AWS_ENDPOINT_URL", first.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_SESSION_TOKEN", "session")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	fresh(t)
	if _, err := storage.ReadFile("s3://bucket/a"); err == nil || !strings.Contains(err.Error(), "sends on to another address") {
		t.Errorf("reading: %v", err)
	}
	if err := storage.WriteFile("s3://bucket/a", []byte("x")); err == nil {
		t.Error("writing: no error")
	}
	if _, err := storage.Glob("s3://bucket/*"); err == nil {
		t.Error("listing: no error")
	}
	if len(told) > 0 {
		t.Errorf("the other server was given %v", told)
	}
}
