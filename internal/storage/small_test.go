package storage

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// within fails when f, such as the opening of a FIFO that nobody writes to, does not return soon.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan bool)
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: still waiting", what)
	}
}

// TestRegularFilesOnly: what is not a regular file is refused at once, by every way in which files are opened, and by its name.
func TestRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	fifo, folder, loop := filepath.Join(dir, "pipe.json"), filepath.Join(dir, "folder.json"), filepath.Join(dir, "loop.json")
	if err := mkfifo(fifo); err != nil {
		t.Skipf("no FIFOs here: %v", err)
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	ways := map[string]func(path string) error{
		"OpenReaderAt": func(p string) error { _, err := OpenReaderAt(p); return err },
		"OpenFile":     func(p string) error { _, err := OpenFile(p); return err },
		"ReadFile":     func(p string) error { _, err := ReadFile(p); return err },
		"ReadSmall":    func(p string) error { _, err := ReadSmall(p, KindConfig); return err },
		"SHA256File":   func(p string) error { _, err := SHA256File(p); return err },
		"Exists":       func(p string) error { _, err := Exists(p); return err },
		"ReadSmallFS": func(p string) error {
			_, err := ReadSmallFS(os.DirFS(filepath.Dir(p)), filepath.Base(p), KindConfig)
			return err
		},
		"ReadObject": func(p string) error { _, err := ReadObject(os.DirFS(filepath.Dir(p)), filepath.Base(p)); return err },
	}
	for path, want := range map[string]string{fifo: "FIFO", folder: "folder", "/dev/zero": "device", loop: "too many"} {
		for way, open := range ways {
			within(t, way+" of "+path, func() {
				if err := open(path); err == nil || !strings.Contains(err.Error(), want) ||
					!strings.Contains(err.Error(), filepath.Base(path)) {
					t.Errorf("%s of %s: %v, want an error that names it and says %q", way, path, err, want)
				}
			})
		}
	}
}

// TestReadSmall: a file of a kind is read whole up to the kind's bound, and beyond it refused before any of it is.
func TestReadSmall(t *testing.T) {
	kind := Kind{"a test", 8}
	path := filepath.Join(t.TempDir(), "x.json")
	for n, want := range map[int]string{0: "", 8: "", 9: "x.json: it has 9 bytes, and a test may have 8 bytes"} {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", n)), 0o644); err != nil {
			t.Fatal(err)
		}
		for way, read := range map[string]func() ([]byte, error){
			"ReadSmall":   func() ([]byte, error) { return ReadSmall(path, kind) },
			"ReadSmallFS": func() ([]byte, error) { return ReadSmallFS(os.DirFS(filepath.Dir(path)), "x.json", kind) },
		} {
			b, err := read()
			if want == "" && (err != nil || len(b) != n) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%s of %d bytes: %d bytes, %v, want %q", way, n, len(b), err, want)
			}
		}
	}
	// A sparse file of a tebibyte takes no room on the disk, and must take none in memory.
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip(err)
	}
	for _, k := range []Kind{KindNote, KindRecipe, KindTemplate, KindConfig, KindIndex, KindTokenizer, KindPrompts, KindState} {
		if _, err := ReadSmall(path, k); err == nil ||
			!strings.Contains(err.Error(), fmt.Sprintf("it has 1024.0 GiB, and %s may have %s", k.Name, Size(k.Max))) {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
}

// readsAll are the calls that read a file whole, or open one without looking at what it is.
var readsAll = regexp.MustCompile(`\b(os\.ReadFile|os\.Open|fs\.ReadFile|ioutil\.\w+|io\.ReadAll)\((io\.LimitReader|http\.MaxBytesReader)?`)

// readsAllowed are the files that may call them, and why.
var readsAllowed = map[string]string{
	"examples/":        "programs of a user",
	"internal/doors/":  "/proc",
	"internal/golden/": "golden data, in tests",
	"pipelines/runners/jobserver/proc_unix.go": "/proc",
	"internal/layers/":                         "documents of this repository",
	"internal/mem/":                            "/proc and /sys",
	"internal/pasted/":                         "documents of this repository, in tests",
	"internal/storage/":                        "this package",
	"internal/usage/":                          "/proc",
	"interop/":                                 "checks of this repository",
	"pipelines/runners/worker.go":              "the pipeline options that Beam's boot left",
}

// TestNoUnboundedReads: whatever a user names is opened by this package, which refuses FIFOs and files out of proportion.
func TestNoUnboundedReads(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (d.Name() == "testdata" || d.Name() == "docs" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for allowed := range readsAllowed {
			if strings.HasPrefix(filepath.ToSlash(rel), allowed) {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			if m := readsAll.FindStringSubmatch(line); m != nil && m[2] == "" {
				t.Errorf("%s:%d: %s reads what it is given whole; use storage.ReadSmall with its kind, or storage.OpenFile",
					filepath.ToSlash(rel), i+1, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
