package assets

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	dir, err := Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	sum := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %x", len(b), sha256.Sum256(b))
	}
	want := sum()
	if !strings.HasPrefix(want, "10957160 ") {
		t.Errorf("the model has other content: %s", want)
	}
	// A damaged cache is replaced.
	if err := os.Truncate(filepath.Join(dir, "model.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	if again, err := Resolve("embedded:lm-en-5m"); err != nil || again != dir || sum() != want {
		t.Errorf("after damage: %s, %v", again, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".unpack-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if p, err := Resolve("some/file"); p != "some/file" || err != nil {
		t.Errorf("a plain path became %q, %v", p, err)
	}
	for _, ref := range []string{"embedded:nothing", "embedded:linux_man_en/nothing.jsonl"} {
		if _, err := Resolve(ref); err == nil || !strings.Contains(err.Error(), "there are ") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestSize(t *testing.T) {
	var total int64
	for _, n := range Names() {
		entries, err := files.ReadDir("files/" + n)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			st, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			total += st.Size()
		}
	}
	if total > 16<<20 || total < 1<<20 {
		t.Errorf("%d bytes are embedded, at most 16 MiB should be", total)
	}
}
