package storage

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range es {
		out = append(out, e.Name())
	}
	return out
}

func TestAtomicWrite(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "new", "a.bin")
	if err := WriteFile(p, []byte("one")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(p)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("two"))
	if b, _ := os.ReadFile(p); string(b) != "one" {
		t.Fatalf("visible before Commit: %q", b)
	}
	f.Abort()
	if got := names(t, filepath.Dir(p)); len(got) != 1 {
		t.Fatalf("left behind: %v", got)
	}
	f, _ = Create(p)
	f.Write([]byte("three"))
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if b, _ := os.ReadFile(p); string(b) != "three" {
		t.Fatalf("got %q", b)
	}
	if err := f.Commit(); err == nil {
		t.Fatal("second Commit succeeded")
	}
	if h, err := SHA256File(p); err != nil || h != SHA256([]byte("three")) {
		t.Fatalf("%s %v", h, err)
	}
}

func TestConcurrentAttempts(t *testing.T) {
	p := filepath.Join(t.TempDir(), "x")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := WriteFile(p, bytes.Repeat([]byte{byte('a' + i)}, 1<<16)); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	b, err := os.ReadFile(p)
	if err != nil || len(b) != 1<<16 || bytes.Count(b, b[:1]) != len(b) {
		t.Fatalf("mixed content, %d bytes, %v", len(b), err)
	}
	if got := names(t, filepath.Dir(p)); len(got) != 1 {
		t.Fatalf("left behind: %v", got)
	}
}

// TestSweep leaves what is not a writer's temporary file.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a.json", ".a.json.tmp-123", "b/.c.parquet.tmp-9", "b/.c.parquet", "b/c.tmp-5", ".d.tmp-x", ".e.tmp-"} {
		if err := WriteFile(filepath.Join(dir, n), nil); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Create(filepath.Join(dir, "b", "open"))
	if err != nil {
		t.Fatal(err)
	}
	f.f.Close() // as a process that was killed
	for range 2 {
		if err := Sweep(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := append(names(t, dir), names(t, filepath.Join(dir, "b"))...); !slices.Equal(got,
		[]string{".d.tmp-x", ".e.tmp-", "a.json", "b", ".c.parquet", "c.tmp-5"}) {
		t.Fatalf("left: %v", got)
	}
	if err := Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Fatal(err)
	}
}

func TestGlob(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"b.txt", "a.txt", "c[1].txt", "d.json"} {
		os.WriteFile(filepath.Join(dir, n), nil, 0o644)
	}
	os.Mkdir(filepath.Join(dir, "e.txt"), 0o755)
	got, err := Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(got) != 3 || filepath.Base(got[0]) != "a.txt" || filepath.Base(got[2]) != "c[1].txt" {
		t.Fatalf("%v %v", got, err)
	}
	if got, err = Glob(filepath.Join(dir, "c[1].txt")); err != nil || len(got) != 1 {
		t.Fatalf("literal name: %v %v", got, err)
	}
	for _, p := range []string{"nothing*", "none.txt"} {
		_, err = Glob(filepath.Join(dir, p))
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), p) {
			t.Fatalf("%v", err)
		}
	}
	if _, err = Glob(dir); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Fatalf("%v", err)
	}
}

type memFS struct {
	m map[string][]byte
}

type memFile struct{ *bytes.Reader }

func (m memFile) Close() error { return nil }
func (m memFile) Size() int64  { return m.Reader.Size() }

func (m *memFS) Glob(string) ([]string, error) {
	var out []string
	for k := range m.m {
		out = append(out, k)
	}
	return out, nil
}
func (m *memFS) OpenReaderAt(p string) (ReaderAt, error) {
	return memFile{bytes.NewReader(m.m[p])}, nil
}
func (m *memFS) Put(p string, r io.Reader) error {
	b, err := io.ReadAll(r)
	m.m[p] = b
	return err
}
func (m *memFS) Remove(p string) error { delete(m.m, p); return nil }

func TestSchemes(t *testing.T) {
	for p, want := range map[string]string{"gs://b/k": "gs", "S3://b": "s3", "/a/b": "", "a://": "a", "file:///x": "",
		`C:\x`: "", "x y://z": ""} {
		if got := Scheme(p); got != want {
			t.Errorf("%s: %q", p, got)
		}
	}
	if _, err := OpenReaderAt("nope://x/y"); err == nil || !strings.Contains(err.Error(), "nope://") {
		t.Fatalf("%v", err)
	}
	if _, err := Create("nope://x/y"); err == nil {
		t.Fatal("Create on an unknown scheme")
	}
	Register("mem", &memFS{m: map[string][]byte{}})
	if n, ranged, err := RangeSize("mem://b/1"); n != 0 || ranged || err != nil {
		t.Errorf("%d %v %v of a store without ranges", n, ranged, err)
	}
	file := filepath.Join(t.TempDir(), "x")
	if _, _, err := RangeSize(file); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := WriteFile(file, []byte("abc")); err != nil {
		t.Fatal(err)
	}
	if n, ranged, err := RangeSize("file://" + file); n != 3 || !ranged || err != nil {
		t.Errorf("%d %v %v", n, ranged, err)
	}
	for _, k := range []string{"mem://b/2", "mem://b/1"} {
		if err := WriteFile(k, []byte(k)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Glob("mem://b/*")
	if err != nil || len(got) != 2 || got[0] != "mem://b/1" {
		t.Fatalf("%v %v", got, err)
	}
	if b, err := ReadFile(got[1]); err != nil || string(b) != "mem://b/2" {
		t.Fatalf("%q %v", b, err)
	}
	if j := Join("mem://b/", "/x/", "y"); j != "mem://b/x/y" {
		t.Fatal(j)
	}
}

func TestSpooled(t *testing.T) {
	r, err := NewSpooled(strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2)
	if _, err := r.ReadAt(b, 3); err != nil || string(b) != "lo" || r.Size() != 5 {
		t.Fatalf("%q %v", b, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLockDir starts itself as a second process, which must be refused while the lock is held and must not keep it after its death.
func TestLockDir(t *testing.T) {
	if d := os.Getenv("STORAGE_TEST_LOCK"); d != "" {
		_, err := LockDir(d)
		if err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0)
	}
	dir := filepath.Join(t.TempDir(), "out")
	l, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var le *LockedError
	if _, err := LockDir(dir); !errors.Is(err, ErrLocked) || !errors.As(err, &le) || le.PID != os.Getpid() {
		t.Fatalf("%v", err)
	}
	child := func() string {
		c := exec.Command(os.Args[0], "-test.run=^TestLockDir$")
		c.Env = append(os.Environ(), "STORAGE_TEST_LOCK="+dir)
		out, err := c.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if s := child(); !strings.Contains(s, "in use by process") {
		t.Fatalf("child said %q", s)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if s := child(); s != "" {
		t.Fatalf("child said %q", s)
	}
	if l, err = LockDir(dir); err != nil {
		t.Fatalf("after a dead holder: %v", err)
	}
	l.Unlock()
}

func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/dev/full is Linux's")
	}
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	_, err = f.Write([]byte("x"))
	if err = explain("out/x", err); !IsNoSpace(err) || !strings.Contains(err.Error(), "out/x") || !strings.Contains(err.Error(), "full") {
		t.Fatalf("%v", err)
	}
}

func TestNotAFolder(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	if err := WriteFile(filepath.Join(dir, "file", "x"), nil); err == nil || !strings.Contains(err.Error(), "file") {
		t.Fatalf("%v", err)
	}
	if _, err := OpenReaderAt(dir); err == nil {
		t.Fatal("opened a folder")
	}
}

// TestAccess holds the modes of what is written to the umask, which a child sets: cmd/cli has the test of whole runs.
func TestAccess(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no modes")
	}
	dir := t.TempDir()
	for _, c := range []struct {
		name string
		make func(path string) error
		file fs.FileMode
	}{
		{"own", func(p string) error { return WriteFile(p, []byte("x")) }, 0o600},
		{"once", func(p string) error { _, err := WriteOnce(p, []byte("x")); return err }, 0o600},
		{"json", func(p string) error { return WriteJSON(p, 1) }, 0o600},
		{"copy", func(p string) error { return CopyFile(p, filepath.Join(dir, "own", "d", "f")) }, 0o600},
		{"shared", func(p string) error { return WriteShared(p, []byte("x")) }, 0o644},
		{"copy-shared", func(p string) error { return CopyShared(p, filepath.Join(dir, "own", "d", "f")) }, 0o644},
	} {
		path := filepath.Join(dir, c.name, "d", "f")
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		umask := fs.FileMode(0o777)
		if probe, err := os.Create(filepath.Join(dir, "probe-"+c.name)); err == nil {
			fi, _ := probe.Stat()
			umask = 0o666 &^ fi.Mode().Perm()
			probe.Close()
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != c.file&^umask {
			t.Errorf("%s: the file is %v, %v", c.name, fi.Mode(), err)
		}
		folder := fs.FileMode(0o700)
		if c.file == 0o644 {
			folder = 0o755 &^ umask
		}
		if fi, err = os.Stat(filepath.Dir(path)); err != nil || fi.Mode().Perm()&0o666 != folder&0o666 {
			t.Errorf("%s: the folder is %v, %v", c.name, fi.Mode(), err)
		}
		// Names as long as a file system takes leave room for the temporary one's.
		if err := c.make(filepath.Join(dir, c.name, strings.Repeat("f", 255-len(".")-len(".tmp-4294967295")))); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestReadRange: a range is what it says, is opened once, and one beyond the end is an error that names the file.
func TestReadRange(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(p, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := Opens()
	for _, c := range []struct {
		off, n int64
		want   string
	}{{0, 10, "0123456789"}, {3, 4, "3456"}, {10, 0, ""}} {
		if b, err := ReadRange(p, c.off, c.n); err != nil || string(b) != c.want {
			t.Errorf("%d, %d: %q, %v", c.off, c.n, b, err)
		}
	}
	if n := Opens() - before; n != 3 {
		t.Errorf("%d opens of 3", n)
	}
	if _, err := ReadRange(p, 8, 3); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), p) {
		t.Error(err)
	}
}
