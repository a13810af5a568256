package page

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// recorder is a test that notes what it fails by.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Errorf(format string, a ...any) { r.said = fmt.Sprintf(format, a...) }

func TestCurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	*update = true
	Current(t, path, "go generate ./x", []byte("a\nb\nc\n"))
	*update = false
	Current(t, path, "go generate ./x", []byte("a\nb\nc\n"))
	for text, want := range map[string]string{
		"a\nx\nc\n":    "from line 2: run go generate ./x\nb\nwant\nx",
		"a\nb\nc\nd\n": "from line 4: run go generate ./x\n\nwant\nd",
		"a\nb":         "from line 3: run go generate ./x\nc\nwant\n(the end)",
	} {
		r := &recorder{TB: t}
		if Current(r, path, "go generate ./x", []byte(text)); !strings.HasSuffix(r.said, want) {
			t.Errorf("%q: %s, want %s", text, r.said, want)
		}
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "a\nb\nc\n" {
		t.Errorf("%q %v", b, err)
	}
}
