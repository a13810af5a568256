package hub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// web answers requests for any address, by a function, and keeps which of them had the token.
type web struct {
	serve func(w http.ResponseWriter, r *http.Request)
	told  []string // addresses that were given the token
	asked []string
}

func (x *web) RoundTrip(r *http.Request) (*http.Response, error) {
	x.asked = append(x.asked, r.URL.String())
	if r.Header.Get("Authorization") != "" {
		x.told = append(x.told, r.URL.String())
	}
	w := httptest.NewRecorder()
	x.serve(w, r)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// TestTokenStaysWithTheHub: whatever a request is for and wherever it is sent on to, the token reaches the hub's scheme, host and port
// alone, and nothing follows from https to http.
func TestTokenStaysWithTheHub(t *testing.T) {
	const hub = "https://hub.example"
	for name, c := range map[string]struct {
		to   string // where it is sent on to
		safe bool   // may be followed, without the token
		home bool   // with the token
	}{
		"the same server":       {hub, true, true},
		"the same, by port":     {"https://hub.example:443", true, true},
		"the same, upper case":  {"https://HUB.example", true, true},
		"another host":          {"https://cdn.example", true, false},
		"a subdomain":           {"https://cdn.hub.example", true, false},
		"another port":          {"https://hub.example:8443", true, false},
		"a name in the address": {"https://hub.example@evil.example", true, false},
		"plain http":            {"http://hub.example", false, false},
		"plain http, its port":  {"http://hub.example:443", false, false},
		"plain http elsewhere":  {"http://cdn.example", false, false},
		"another protocol":      {"ftp://hub.example", false, false},
	} {
		for _, stage := range []string{"listing", "head", "file"} {
			for _, code := range []int{301, 302, 307} {
				s := newServer()
				x := &web{}
				x.serve = func(w http.ResponseWriter, r *http.Request) {
					moved := strings.HasPrefix(r.URL.Path, "/elsewhere/")
					r.URL.Path = strings.TrimPrefix(r.URL.Path, "/elsewhere")
					is := map[bool]string{true: "file", false: "head"}[r.Method == http.MethodGet]
					if strings.HasPrefix(r.URL.Path, "/api/") {
						is = "listing"
					}
					if !moved && is == stage {
						w.Header().Set("Location", c.to+"/elsewhere"+r.URL.Path)
						w.WriteHeader(code)
						return
					}
					body := s.files[filepath.Base(r.URL.Path)]
					if is == "listing" {
						body, _ = json.Marshal(map[string]any{"sha": commit,
							"siblings": []any{map[string]string{"rfilename": "config.json"}, map[string]string{"rfilename": weights}}})
					}
					w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(body))))
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
				}
				client := &Client{Endpoint: hub, Token: "hf_x", Cache: t.TempDir(), Pause: time.Millisecond, Idle: time.Second,
					HTTP: &http.Client{Transport: x}}
				_, err := client.Snapshot(context.Background(), "org/name")
				at := fmt.Sprintf("%s, %s, %d", name, stage, code)
				for _, a := range x.told {
					if !strings.HasPrefix(strings.ToLower(a), hub+"/") && !strings.HasPrefix(a, hub+":443/") {
						t.Errorf("%s: the token was sent to %s", at, a)
					}
				}
				for _, a := range x.asked {
					if !strings.HasPrefix(a, "https:") {
						t.Errorf("%s: %s was asked", at, a)
					}
				}
				if len(x.told) == 0 {
					t.Errorf("%s: the hub was not given the token", at)
				}
				// A checksum is the hub's own word.
				if want := c.safe && (c.home || stage != "head"); want != (err == nil) {
					t.Errorf("%s: %v", at, err)
				}
				if !c.safe && err != nil && !strings.Contains(err.Error(), "not safe") {
					t.Errorf("%s: the error %q does not say why", at, err)
				}
			}
		}
	}
}

// TestTokenThere: a server elsewhere that sends back to the hub does not make the token come along; over plain http no token is sent but
// within this machine.
func TestTokenThere(t *testing.T) {
	x := &web{serve: func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Host == "cdn.example":
			w.Header().Set("Location", "https://hub.example/settings/delete")
		case r.URL.Path == "/settings/delete":
			return
		default:
			w.Header().Set("Location", "https://cdn.example/x")
		}
		w.WriteHeader(http.StatusFound)
	}}
	client := &Client{Endpoint: "https://hub.example", Token: "hf_x", Cache: t.TempDir(), Idle: time.Second,
		HTTP: &http.Client{Transport: x}}
	_, _ = client.Snapshot(context.Background(), "org/name")
	if len(x.told) != 1 {
		t.Errorf("the token went to %v", x.told)
	}
	for endpoint, want := range map[string]bool{"http://mirror.example": false, "http://10.0.0.3:8080": false,
		"http://localhost.example": false, "http://127.0.0.1:81": true,
		"http://localhost:81": true, "http://[::1]:81": true, "https://mirror.example": true} {
		x := &web{serve: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) }}
		client := &Client{Endpoint: endpoint, Token: "hf_x", Cache: t.TempDir(), Idle: time.Second, HTTP: &http.Client{Transport: x}}
		_, err := client.Snapshot(context.Background(), "org/name")
		if len(x.told) > 0 != want || err == nil || !want && !strings.Contains(err.Error(), "https") {
			t.Errorf("%s: the token went to %v (%v)", endpoint, x.told, err)
		}
	}
	// What is secret in an address stays out of errors.
	x = &web{serve: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }}
	client = &Client{Endpoint: "https://me:secret@hub.example", Cache: t.TempDir(), Idle: time.Second, HTTP: &http.Client{Transport: x}}
	if _, err := client.Snapshot(context.Background(), "org/name"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// flip changes a byte of a file and leaves its size, its time and its link as they are.
func flip(t *testing.T, path string) {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(path)
	b[len(b)/2] ^= 0x10
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		err = os.WriteFile(real, b, 0o644)
	}
	if err == nil {
		err = os.Chtimes(real, time.Time{}, st.ModTime())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamagedCache: a file that is not what came is downloaded again, or named where there is no hub; whether the snapshot is asked for by
// branch or by commit, and also where an earlier start found it right.
func TestDamagedCache(t *testing.T) {
	old := settle
	settle = 0
	defer func() { settle = old }()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(`{"model_type":"gpt2"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, harm := range map[string]func(t *testing.T, dir string){
		"a bit of the weights":   func(t *testing.T, dir string) { flip(t, filepath.Join(dir, weights)) },
		"a bit of a small file":  func(t *testing.T, dir string) { flip(t, filepath.Join(dir, "config.json")) },
		"cut off":                func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, weights), 1000) },
		"empty":                  func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, "tokenizer.json"), 0) },
		"longer":                 func(t *testing.T, dir string) { truncate(t, filepath.Join(dir, weights), 300_001) },
		"a link to another file": func(t *testing.T, dir string) { relink(t, secret, filepath.Join(dir, "config.json")) },
		"a relative link out":    func(t *testing.T, dir string) { relink(t, "../../../../secret", filepath.Join(dir, "config.json")) },
		"a link to a link's blob": func(t *testing.T, dir string) {
			to, _ := os.Readlink(filepath.Join(dir, "tokenizer.json"))
			relink(t, filepath.Join(filepath.Dir(to), "..", "refs", "main"), filepath.Join(dir, "config.json"))
		},
		"a file instead of a link": func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, "config.json"))
			if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"a folder": func(t *testing.T, dir string) {
			p := filepath.Join(dir, weights)
			real, _ := filepath.EvalSymlinks(p)
			os.Remove(real)
			if err := os.Mkdir(real, 0o755); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, ref := range []string{"org/name", "org/name@" + commit} {
			t.Run(name+", "+ref, func(t *testing.T) {
				s := newServer()
				c := s.start(t)
				snapshot(t, c, "org/name")
				dir := snapshot(t, c, ref) // found right
				snapshot(t, c, ref)
				harm(t, dir)
				if name != "a file instead of a link" { // of which nothing tells the checksum
					c.Offline = true
					if _, err := c.Snapshot(context.Background(), ref); err == nil ||
						!strings.Contains(err.Error(), c.Cache) && !strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
						t.Errorf("offline: %v", err)
					}
					c.Offline = false
					there := c.Endpoint
					c.Endpoint = "http://127.0.0.1:1"
					if _, err := c.Snapshot(context.Background(), ref); err == nil || strings.Contains(err.Error(), "\n") {
						t.Errorf("the hub gone: %v", err)
					}
					c.Endpoint = there
				} else if ref != "org/name" {
					return
				}
				same(t, s, snapshot(t, c, ref))
				c.Offline = true
				same(t, s, snapshot(t, c, ref))
			})
		}
	}
	if raw, _ := os.ReadFile(secret); string(raw) != `{"model_type":"gpt2"}` {
		t.Error("a file outside was written")
	}
}

func truncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

func relink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Remove(at); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// TestCheckedOnce: a start reads no file for its checksum that an earlier one found right.
func TestCheckedOnce(t *testing.T) {
	old := settle
	settle = 0
	defer func() { settle = old }()
	c := newServer().start(t)
	c.Offline = false
	snapshot(t, c, "org/name")
	snapshot(t, c, "org/name")
	c.Offline = true
	n := checks.Load()
	dir := snapshot(t, c, "org/name")
	if checks.Load() != n {
		t.Errorf("%d files were read again", checks.Load()-n)
	}
	// Where nothing can be kept, it is right all the same.
	kept := filepath.Join(filepath.Dir(filepath.Dir(dir)), ".checked")
	if err := os.RemoveAll(kept); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if snapshot(t, c, "org/name"); checks.Load() != n+3 {
		t.Errorf("%d files were read, want 3", checks.Load()-n)
	}
	// A time that is too young tells nothing.
	settle = time.Hour
	os.Remove(kept)
	snapshot(t, c, "org/name")
	snapshot(t, c, "org/name")
	if checks.Load() != n+9 {
		t.Errorf("%d files were read, want 9", checks.Load()-n)
	}
}

// TestLyingHub: names that lead elsewhere, other commits, sizes and lists without an end are refused, and nothing is written outside the
// cache.
func TestLyingHub(t *testing.T) {
	list := func(sha string, names ...string) []byte {
		l := listing{SHA: sha}
		for _, n := range names {
			l.Siblings = append(l.Siblings, struct {
				Name string `json:"rfilename"`
			}{n})
		}
		raw, _ := json.Marshal(l)
		return raw
	}
	const other = "fedcba9876543210fedcba9876543210fedcba98"
	for name, c := range map[string]struct {
		ref     string
		listing []byte
		files   map[string][]byte
		size    string // stated of every file
		want    string
	}{
		"names that lead out": {listing: list(commit, "config.json", weights, "../../../escape", "/abs", `..\..\x`,
			"model-00001-of-00002.safetensors/../../x", "a/config.json", "config.json\x00"),
			files: map[string][]byte{"config.json": []byte("{}"), weights: []byte("w")}},
		"a commit that leads out": {listing: list("../../../../tmp/x", "config.json", weights), want: "no list of files"},
		"another commit":          {ref: "org/name@" + other, listing: list(commit, "config.json", weights), want: "was not asked for"},
		"a long list": {listing: append(list(commit, "config.json", weights), bytes.Repeat([]byte(" "), maxListing)...),
			want: "16 MiB"},
		"an index that leads out": {listing: list(commit, "config.json", index),
			files: map[string][]byte{"config.json": []byte("{}"), index: []byte(`{"weight_map":{"a":"../../../x.safetensors"}}`)},
			want:  "does not have"},
		"a huge small file": {listing: list(commit, "config.json", weights), files: map[string][]byte{"config.json": []byte("{}")},
			size: "1099511627776", want: "at most"},
		"a size below none": {listing: list(commit, "config.json", weights), files: map[string][]byte{"config.json": []byte("{}")},
			size: "-1", want: "size"},
		"no size": {listing: list(commit, "config.json", weights), files: map[string][]byte{"config.json": []byte("{}")},
			size: "many", want: "size"},
		"a size too small": {listing: list(commit, "config.json", weights), files: map[string][]byte{"config.json": []byte("{}")},
			size: "1", want: "checksum"},
		"a size too large": {listing: list(commit, "config.json", weights), files: map[string][]byte{"config.json": []byte("{}")},
			size: "9", want: "ended after 2 of 9"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/api/") {
					w.Write(c.listing)
					return
				}
				body := c.files[filepath.Base(r.URL.Path)]
				w.Header().Set("X-Linked-Etag", fmt.Sprintf("%x", sha256.Sum256(body)))
				w.Header().Set("X-Linked-Size", fmt.Sprint(len(body)))
				if c.size != "" {
					w.Header().Set("X-Linked-Size", c.size)
				}
				if r.Method == http.MethodGet {
					w.Write(body)
				}
			}))
			defer srv.Close()
			top := t.TempDir()
			client := &Client{Endpoint: srv.URL, Cache: filepath.Join(top, "a", "b"), Pause: time.Millisecond, Idle: time.Second}
			ref := c.ref
			if ref == "" {
				ref = "org/name"
			}
			_, err := client.Snapshot(context.Background(), ref)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want one that says %q", err, c.want)
			}
			_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
				if rel, _ := filepath.Rel(top, p); err == nil && !d.IsDir() &&
					!strings.HasPrefix(filepath.ToSlash(rel), "a/b/models--org--name/") &&
					!strings.HasPrefix(filepath.ToSlash(rel), "a/b/.locks/") {
					t.Errorf("%s was written", rel)
				}
				return err
			})
		})
	}
}

// TestDownloadEnds: a server that begins anew each time, now with more and now with less, is given up.
func TestDownloadEnds(t *testing.T) {
	n := 0
	body := weightsOf(10_000)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/"):
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"}]}`, commit)
			return
		case r.Method == http.MethodHead:
			w.Header().Set("X-Linked-Etag", fmt.Sprintf("%x", sha256.Sum256(body)))
			w.Header().Set("X-Linked-Size", fmt.Sprint(len(body)))
			return
		}
		if n++; n > 100 {
			t.Error("it goes on for ever")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:1000+1000*(n%2)])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer srv.Close()
	c := &Client{Endpoint: srv.URL, Cache: t.TempDir(), Pause: time.Microsecond, Idle: time.Second}
	if _, err := c.Snapshot(context.Background(), "org/name"); err == nil {
		t.Error("no error")
	}
}

// TestPlantedPart: what is left of a download is not written through a link that somebody laid in a shared cache.
func TestPlantedPart(t *testing.T) {
	s := newServer()
	c := s.start(t)
	victim := filepath.Join(t.TempDir(), "profile")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	blobs := filepath.Join(c.Cache, "models--org--name", "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(blobs, fmt.Sprintf("%x.incomplete", sha256.Sum256(s.files[weights])))); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Snapshot(context.Background(), "org/name"); err == nil {
		t.Error("no error")
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" {
		t.Errorf("the file behind the link has %d bytes of the model", len(b))
	}
}

// TestNamesOfOneFolder: names of which the cache would make one folder, or leave its own, are none.
func TestNamesOfOneFolder(t *testing.T) {
	for ref, want := range map[string]bool{"a--b/c": false, "a/b--c": false, "a-b/c_d.e": true, "org/name@v1--x": true,
		"org/name@a/../b": false, "org/name@..": false, "org/name@/etc": false,
		"org/name@" + strings.Repeat("x", 500): false, "org/name@a//b": true, "org/name@": false} {
		if Is(ref) != want {
			t.Errorf("Is(%.40q) is %v", ref, !want)
		}
	}
}
