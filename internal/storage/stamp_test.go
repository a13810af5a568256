package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStamp: what changes a file that counts changes the stamp of its folder, also behind a link, and nothing else does.
func TestStamp(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stamp := func() string { return Stamp(filepath.Join(dir, "in"), ".json", ".bin") }
	if stamp() != "" {
		t.Error("a folder that is not there has a stamp")
	}
	if err := os.Mkdir(filepath.Join(dir, "in"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("in/a.json", "1")
	write("blob", "1")
	if err := os.Symlink(filepath.Join(dir, "blob"), filepath.Join(dir, "in", "b.bin")); err != nil {
		t.Log(err) // a system whose users make none
	}
	was := stamp()
	write("in/c.txt", "1")
	if stamp() != was {
		t.Error("a file of another extension counts")
	}
	for name, change := range map[string]func(){
		"a size": func() { write("in/a.json", "11") },
		"a time": func() {
			if err := os.Chtimes(filepath.Join(dir, "in", "a.json"), time.Time{}, time.Unix(7, 7)); err != nil {
				t.Fatal(err)
			}
		},
		"a name": func() { write("in/d.json", "1") },
		"what a link names": func() {
			write("blob", "111")
			if _, err := os.Readlink(filepath.Join(dir, "in", "b.bin")); err != nil {
				write("in/b.bin", "111")
			}
		},
	} {
		if change(); stamp() == was {
			t.Errorf("%s does not count", name)
		}
		was = stamp()
	}
}
