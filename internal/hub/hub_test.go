package hub

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // as git does
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// server is a hub with one model, org/name, whose weights lie with a storage of another address.
type server struct {
	sync.Mutex
	files  map[string][]byte
	token  string // needed where not empty
	cut    int    // transfers of weights end after so many bytes; 0 for none
	cuts   int    // how many do
	wrong  bool   // the weights arrive changed
	ignore bool   // Range is not understood
	busy   int    // requests that are answered 503
	hang   int    // transfers of weights that stop coming
	code   int    // answer to everything
	word   string // X-Error-Code
	seen   []string
	leaked bool // the token reached the storage
}

func weightsOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func newServer() *server {
	return &server{files: map[string][]byte{
		"config.json": []byte(`{"model_type":"llama"}`), "tokenizer.json": []byte(`{}`), "README.md": []byte("text"),
		weights:             weightsOf(300_000),
		"pytorch_model.bin": []byte("pickle"), "onnx/model.onnx": []byte("x"),
	}}
}

// start serves the hub and its storage and returns a client with a cache of its own.
func (s *server) start(t *testing.T) *Client {
	t.Helper()
	storage := httptest.NewServer(http.HandlerFunc(s.blob))
	t.Cleanup(storage.Close)
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, storage.URL) }))
	t.Cleanup(hub.Close)
	return &Client{Endpoint: hub.URL, Cache: t.TempDir(), Pause: time.Millisecond, Idle: 300 * time.Millisecond}
}

func (s *server) serve(w http.ResponseWriter, r *http.Request, storage string) {
	s.Lock()
	defer s.Unlock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	switch {
	case s.busy > 0:
		s.busy--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case s.code != 0:
		w.Header().Set("X-Error-Code", s.word)
		w.WriteHeader(s.code)
		return
	case s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token:
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/models/org/name/revision/") {
		l := listing{SHA: commit}
		for n := range s.files {
			l.Siblings = append(l.Siblings, struct {
				Name string `json:"rfilename"`
			}{n})
		}
		json.NewEncoder(w).Encode(l)
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/org/name/resolve/"+commit+"/")
	moved := false
	if !ok {
		name, moved = strings.CutPrefix(r.URL.Path, "/moved/")
	}
	body := s.files[name]
	if body == nil {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch {
	case name == weights || strings.HasPrefix(name, "model-"):
		w.Header().Set("X-Linked-Etag", fmt.Sprintf("%q", fmt.Sprintf("%x", sha256.Sum256(body))))
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(body)))
		http.Redirect(w, r, storage+"/"+name, http.StatusFound)
	case !moved: // small files are sent on within the hub
		http.Redirect(w, r, "/moved/"+name, http.StatusTemporaryRedirect)
	default:
		w.Header().Set("ETag", fmt.Sprintf("W/\"%x\"", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(body)), body...))))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}
}

func (s *server) blob(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	body, cut, ignore := bytes.Clone(s.files[r.URL.Path[1:]]), 0, s.ignore
	s.seen = append(s.seen, "blob "+r.Header.Get("Range"))
	s.leaked = s.leaked || r.Header.Get("Authorization") != ""
	if s.wrong {
		body[len(body)/2]++
	}
	if s.cuts > 0 {
		s.cuts--
		cut = s.cut
	}
	hang := s.hang > 0
	if hang {
		s.hang--
	}
	s.Unlock()
	if ignore {
		r.Header.Del("Range")
	}
	if hang {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	if cut > 0 {
		http.ServeContent(&cutting{w, cut}, r, "", time.Time{}, bytes.NewReader(body))
		panic(http.ErrAbortHandler) // the connection breaks
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		c.left = 0
		return 0, errors.New("cut")
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func (s *server) count(prefix string) (n int) {
	for _, r := range s.seen {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func snapshot(t *testing.T, c *Client, ref string) string {
	t.Helper()
	dir, err := c.Snapshot(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func same(t *testing.T, s *server, dir string) {
	t.Helper()
	for name, want := range s.files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		wanted := name == "config.json" || name == "tokenizer.json" || strings.HasSuffix(name, ".safetensors") || name == index
		if wanted && !bytes.Equal(got, want) {
			t.Errorf("%s: %v, %d bytes, want %d", name, err, len(got), len(want))
		}
		if !wanted && err == nil {
			t.Errorf("%s was downloaded too", name)
		}
	}
}

func TestLayout(t *testing.T) {
	s := newServer()
	s.token = "hf_x"
	c := s.start(t)
	c.Token = "hf_x"
	var told []int64
	c.Progress = func(file string, done, total int64) {
		if file == weights {
			told = append(told, done, total)
		}
	}
	dir := snapshot(t, c, "org/name")
	root := filepath.Join(c.Cache, "models--org--name")
	if want := filepath.Join(root, "snapshots", commit); dir != want {
		t.Errorf("folder %s, want %s", dir, want)
	}
	same(t, s, dir)
	if ref, _ := os.ReadFile(filepath.Join(root, "refs", "main")); string(ref) != commit {
		t.Errorf("refs/main holds %q", ref)
	}
	etag := fmt.Sprintf("%x", sha256.Sum256(s.files[weights]))
	if to, err := os.Readlink(filepath.Join(dir, weights)); err != nil || to != filepath.Join("..", "..", "blobs", etag) {
		t.Errorf("the weights are a link to %q, %v", to, err)
	}
	if s.leaked {
		t.Error("the token was sent to the storage")
	}
	if n := int64(len(s.files[weights])); len(told) < 4 || told[0] != 0 || told[1] != n || told[len(told)-2] != n {
		t.Errorf("progress %v", told)
	}
	entries, _ := os.ReadDir(filepath.Join(root, "blobs"))
	if len(entries) != 3 {
		t.Errorf("%d blobs, want 3", len(entries))
	}
	// A second time only the commit is asked for; by commit, offline and with the hub gone not even that.
	s.seen = nil
	snapshot(t, c, "org/name")
	if len(s.seen) != 1 {
		t.Errorf("the second time took %v", s.seen)
	}
	s.seen = nil
	snapshot(t, c, "org/name@"+commit)
	c.Offline = true
	snapshot(t, c, "org/name")
	c.Offline, c.Endpoint = false, "http://127.0.0.1:1"
	if snapshot(t, c, "org/name") != dir || len(s.seen) != 0 {
		t.Errorf("requests %v", s.seen)
	}
}

func TestShards(t *testing.T) {
	s := newServer()
	delete(s.files, weights)
	s.files["model-00001-of-00002.safetensors"], s.files["model-00002-of-00002.safetensors"] = weightsOf(1000), weightsOf(2000)
	s.files[index] = []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`)
	c := s.start(t)
	dir := snapshot(t, c, "org/name@v1.0")
	same(t, s, dir)
	os.Remove(filepath.Join(dir, "model-00002-of-00002.safetensors"))
	c.Offline = true
	if _, err := c.Snapshot(context.Background(), "org/name@v1.0"); !errors.Is(err, ErrOffline) {
		t.Errorf("a snapshot without one of its shards: %v", err)
	}
	c.Offline = false
	same(t, s, snapshot(t, c, "org/name@v1.0"))
}

func TestInterruptedDownloadResumes(t *testing.T) {
	for name, set := range map[string]func(*server){
		"cut":      func(s *server) { s.cut, s.cuts = 50_000, 7 },
		"no range": func(s *server) { s.cut, s.cuts, s.ignore = 50_000, 2, true },
		"stalled":  func(s *server) { s.hang = 1 },
		"busy":     func(s *server) { s.busy = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			set(s)
			same(t, s, snapshot(t, s.start(t), "org/name"))
			if name == "cut" && s.count("blob bytes=50000-") != 1 {
				t.Errorf("the second transfer did not go on where the first ended: %v", s.seen)
			}
		})
	}
	t.Run("another run", func(t *testing.T) {
		s := newServer()
		c := s.start(t)
		etag := fmt.Sprintf("%x", sha256.Sum256(s.files[weights]))
		blobs := filepath.Join(c.Cache, "models--org--name", "blobs")
		os.MkdirAll(blobs, 0o755)
		os.WriteFile(filepath.Join(blobs, etag+".incomplete"), s.files[weights][:123_456], 0o644)
		same(t, s, snapshot(t, c, "org/name"))
		if s.count("blob bytes=123456-") != 1 || s.count("blob") != 1 {
			t.Errorf("requests %v", s.seen)
		}
	})
	t.Run("damaged rest", func(t *testing.T) {
		s := newServer()
		c := s.start(t)
		etag := fmt.Sprintf("%x", sha256.Sum256(s.files[weights]))
		blobs := filepath.Join(c.Cache, "models--org--name", "blobs")
		os.MkdirAll(blobs, 0o755)
		os.WriteFile(filepath.Join(blobs, etag+".incomplete"), []byte("something else"), 0o644)
		same(t, s, snapshot(t, c, "org/name"))
	})
}

func TestWrongChecksum(t *testing.T) {
	s := newServer()
	s.wrong = true
	c := s.start(t)
	_, err := c.Snapshot(context.Background(), "org/name")
	if !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), weights) {
		t.Fatalf("error %v", err)
	}
	root := filepath.Join(c.Cache, "models--org--name")
	for _, p := range []string{"refs/main", "snapshots/" + commit + "/" + weights} {
		if _, err := os.Stat(filepath.Join(root, p)); err == nil {
			t.Errorf("%s is there all the same", p)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(root, "blobs"))
	if len(entries) != 2 {
		t.Errorf("blobs %v, want those of the two small files", entries)
	}
	s.Lock()
	s.wrong = false
	s.Unlock()
	same(t, s, snapshot(t, c, "org/name"))
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*server, *Client)
		ref  string
		want []string
	}{
		"401":       {func(s *server, c *Client) { s.token = "hf_x" }, "org/name", []string{"401", "HF_TOKEN"}},
		"bad token": {func(s *server, c *Client) { s.token, c.Token = "hf_x", "hf_y" }, "org/name", []string{"401", "may not read"}},
		"gated": {func(s *server, c *Client) { s.code, s.word = 403, "GatedRepo" }, "org/name",
			[]string{"403", "accept the model's terms", "/org/name"}},
		"404": {func(s *server, c *Client) { s.code, s.word = 404, "RepoNotFound" }, "org/nome",
			[]string{"org/nome", "404", "no such model"}},
		"revision": {func(s *server, c *Client) { s.code, s.word = 404, "RevisionNotFound" }, "org/name@x", []string{"no such revision"}},
		"500":      {func(s *server, c *Client) { s.code = 500 }, "org/name", []string{"500", "HF_ENDPOINT", "huggingface-cli download"}},
		"offline": {func(s *server, c *Client) { c.Offline = true }, "org/name",
			[]string{"HF_HUB_OFFLINE", "huggingface-cli download org/name", "models--org--name"}},
		"no network": {func(s *server, c *Client) { c.Endpoint = "http://127.0.0.1:1" }, "org/name",
			[]string{"not reached", "HTTPS_PROXY"}},
		"no weights": {func(s *server, c *Client) { delete(s.files, weights) }, "org/name",
			[]string{"pytorch_model.bin", "save_pretrained"}},
		"no config": {func(s *server, c *Client) { delete(s.files, "config.json") }, "org/name", []string{"no config.json"}},
		"no hub":    {func(s *server, c *Client) { s.code = 200 }, "org/name", []string{"HF_ENDPOINT"}},
		"bad name":  {func(s *server, c *Client) {}, "../name", []string{"org/name"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer()
			client := s.start(t)
			c.set(s, client)
			_, err := client.Snapshot(context.Background(), c.ref)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q does not say %q", err, w)
				}
			}
		})
	}
}

func TestTwoAtOnce(t *testing.T) {
	s := newServer()
	c := s.start(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := c.Snapshot(context.Background(), "org/name"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.count("blob") != 1 {
		t.Errorf("the weights were fetched %d times", s.count("blob"))
	}
}

func TestNames(t *testing.T) {
	for ref, want := range map[string]bool{"org/name": true, "Qwen/Qwen2.5-0.5B": true, "org/name@main": true,
		"org/name@refs/pr/3": true, "name": false,
		"./org/name": false, "/org/name": false, "a/b/c": false, "../x": false, "a/..": false, "a/b@../../x": false,
		"embedded:lm": false, "": false} {
		if Is(ref) != want {
			t.Errorf("Is(%q) is %v", ref, !want)
		}
	}
}

func TestFromEnv(t *testing.T) {
	home := t.TempDir()
	for _, k := range []string{"HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE",
		"TRANSFORMERS_OFFLINE"} {
		t.Setenv(k, "")
	}
	t.Setenv("XDG_CACHE_HOME", home)
	c, err := FromEnv()
	if err != nil || c.Cache != filepath.Join(home, "huggingface", "hub") || c.Endpoint != "https://huggingface.co" ||
		c.Token != "" || c.Offline {
		t.Errorf("%+v, %v", c, err)
	}
	os.WriteFile(filepath.Join(home, "token"), []byte("hf_file\n"), 0o600)
	t.Setenv("HF_HOME", home)
	t.Setenv("HF_ENDPOINT", "http://localhost:8080/")
	t.Setenv("HF_HUB_OFFLINE", "yes")
	c, err = FromEnv()
	if err != nil || c.Cache != filepath.Join(home, "hub") || c.Endpoint != "http://localhost:8080" || c.Token != "hf_file" || !c.Offline {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("HF_TOKEN", "hf_env")
	t.Setenv("HF_HUB_CACHE", "elsewhere")
	if c, err = FromEnv(); err != nil || c.Cache != "elsewhere" || c.Token != "hf_env" {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("HF_ENDPOINT", "nowhere")
	if _, err = FromEnv(); err == nil {
		t.Error("HF_ENDPOINT nowhere was taken")
	}
}
