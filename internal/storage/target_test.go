package storage

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file that is written takes the place of no device, pipe, socket or folder, and of no open file's link.
func TestTargets(t *testing.T) {
	// A short folder: the name of a socket has 108 bytes at most.
	dir, err := os.MkdirTemp("", "t")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	in := func(name string) string { return filepath.Join(dir, name) }
	l, err := net.Listen("unix", in("socket"))
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	if err := os.Mkdir(in("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in("file"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"null": os.DevNull, "stdout": "/proc/self/fd/1", "descriptor": "/dev/fd/1", "socket-link": in("socket"), "file-link": in("file"),
	} {
		if err := os.Symlink(to, in(name)); err != nil {
			t.Skip(err)
		}
	}
	pipe := in("pipe")
	if err := mkfifo(pipe); err != nil {
		t.Skip(err)
	}
	for path, want := range map[string]string{
		pipe: "a FIFO", in("socket"): "a socket", in("socket-link"): "a socket", in("null"): "a device", in("folder"): "a folder",
		in("stdout"): "an open file", in("descriptor"): "an open file", in("new") + "/": "names no file", "": "names no file",
	} {
		if strings.HasPrefix(want, "an open") {
			if _, err := os.Stat(path); err != nil {
				continue // a system without such files
			}
		}
		was, _ := os.Lstat(path)
		for doing, err := range map[string]error{"checking": CheckTarget(path), "writing": WriteFile(path, nil),
			"sharing": WriteShared(path, nil)} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %q: error %v, want one that says %q", doing, path, err, want)
			}
		}
		if now, err := os.Lstat(path); was != nil && (err != nil || now.Mode() != was.Mode()) {
			t.Errorf("%s is no longer what it was (%v, %v)", path, now, err)
		}
	}
	for _, path := range []string{in("file"), in("file-link"), in("new"), in("absent/new")} {
		if err := errors.Join(CheckTarget(path), WriteFile(path, []byte("new"))); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(path); string(b) != "new" {
			t.Errorf("%s holds %q, %v", path, b, err)
		}
	}
	// What came there in the meantime is not lost either.
	f, err := Create(in("later"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(os.DevNull, in("later")); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil {
		t.Error("a device that came in the meantime was replaced")
	}
	if st, err := os.Lstat(in("later")); err != nil || st.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v, %v", st, err)
	}
	if left, _ := filepath.Glob(in(".*tmp*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
