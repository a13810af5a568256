package assets

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModelOfTheHub finds a model by org/name from a hub on this machine, and again when that hub is gone.
func TestModelOfTheHub(t *testing.T) {
	from := filepath.Join("..", "..", "model", "testdata", "models", "llama_gqa")
	const commit = "00112233445566778899aabbccddeeff00112233"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/api/models/org/tiny/") {
			fmt.Fprintf(w, `{"sha":%q,"siblings":[{"rfilename":"config.json"},{"rfilename":"model.safetensors"}]}`, commit)
			return
		}
		p := filepath.Join(from, filepath.Base(r.URL.Path))
		raw, err := os.ReadFile(p)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf("\"%x\"", sha256.Sum256(raw)))
		http.ServeFile(w, r, p)
	}))
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_ENDPOINT", srv.URL)
	for _, k := range []string{"HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		t.Setenv(k, "")
	}
	var said []string
	dir, err := Model("org/tiny", func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) })
	if err != nil {
		t.Fatal(err)
	}
	if len(said) != 2 || !strings.Contains(said[1], "model.safetensors, 0.4 MiB") {
		t.Errorf("it said %q", said)
	}
	srv.Close()
	t.Setenv("HF_HUB_OFFLINE", "1")
	if again, err := Model("org/tiny", nil); err != nil || again != dir {
		t.Errorf("without the hub: %s, %v", again, err)
	}
	if raw, err := os.ReadFile(filepath.Join(dir, "config.json")); err != nil || !strings.Contains(string(raw), `"llama"`) {
		t.Errorf("config.json: %s, %v", raw, err)
	}
	if _, err := Model("org/other", nil); err == nil || !strings.Contains(err.Error(), "no folder here is called org/other") ||
		!strings.Contains(err.Error(), "HF_HUB_OFFLINE") {
		t.Errorf("a model that is nowhere: %v", err)
	}
}
