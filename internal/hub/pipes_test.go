//go:build unix

package hub

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestPipesInTheCache: a FIFO, or a file out of proportion, in the place of a reference or an index is not a snapshot, and is not waited
// for.
func TestPipesInTheCache(t *testing.T) {
	root := t.TempDir()
	commit := "0123456789abcdef0123456789abcdef01234567"
	dir := filepath.Join(root, "snapshots", commit)
	for _, d := range []string{dir, filepath.Join(root, "refs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"config.json": "{}", weights: "x"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ref := filepath.Join(root, "refs", "main")
	found := func() string {
		got := make(chan string, 1)
		go func() { got <- (&Client{}).cached(root, "main") }()
		select {
		case s := <-got:
			return s
		case <-time.After(10 * time.Second):
			t.Fatal("it waits for a writer")
			return ""
		}
	}
	if err := os.WriteFile(ref, []byte(commit+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := found(); got != dir {
		t.Fatalf("found %q", got)
	}
	if err := os.Truncate(ref, 1<<40); err == nil { // takes no room on the disk
		if got := found(); got != "" {
			t.Errorf("a reference of a tebibyte leads to %q", got)
		}
	}
	os.Remove(ref)
	if err := unix.Mkfifo(ref, 0o644); err != nil {
		t.Skip(err)
	}
	if got := found(); got != "" {
		t.Errorf("a FIFO leads to %q", got)
	}
}
