package kinds

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/train/continual"
)

// bucket is an object store in memory.
type bucket map[string]string

type object struct{ *bytes.Reader }

func (object) Close() error { return nil }

func (b bucket) Glob(pattern string) (out []string, err error) {
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if ok, err := path.Match(pattern, k); err != nil {
			return nil, err
		} else if ok {
			out = append(out, k)
		}
	}
	return out, nil
}

func (b bucket) OpenReaderAt(path string) (storage.ReaderAt, error) {
	s, ok := b[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return object{bytes.NewReader([]byte(s))}, nil
}

func (b bucket) Put(path string, r io.Reader) error {
	raw, err := io.ReadAll(r)
	b[path] = string(raw)
	return err
}

func (b bucket) Remove(path string) error { delete(b, path); return nil }

func sources(files []datasets.SourceFile) (out []string) {
	for _, f := range files {
		out = append(out, f.Source)
	}
	return out
}

// TestStream: the files of an object store's prefix and of a folder whose name has a pattern's characters, in the order of their names,
// each once.
func TestStream(t *testing.T) {
	b := bucket{"mem://b/in/2.txt": "two", "mem://b/in/1.txt": "one", "mem://b/in/3.txt.part": "half", "mem://b/in/_log": "x",
		"mem://b/other/9.txt": "nine"}
	storage.Register("mem", b)
	dir := filepath.Join(t.TempDir(), "in [1]*")
	incoming(t, dir, map[string]string{"1b.txt": "local", "4.txt": "two"})
	s, err := newStream([]string{"mem://b/in/", dir})
	if err != nil {
		t.Fatal(err)
	}
	h := &continual.History{}
	take := func(n int, want, duplicateOf string) {
		t.Helper()
		files, same, err := s.fresh(h, n)
		if got := strings.Join(sources(files), " "); err != nil || got != want || (same != nil) != (duplicateOf != "") ||
			same != nil && same.Files[0].Name != duplicateOf {
			t.Fatalf("%s, duplicate of %+v, %v; want %s, duplicate of %q", got, same, err, want, duplicateOf)
		}
		if len(files) == 0 {
			return
		}
		claims := t.TempDir()
		c, err := makeClaim(claims, files)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := readClaim(claims); err != nil || len(again.Files) != len(c.Files) || again.Files[0] != c.Files[0] {
			t.Errorf("%+v %v", again, err)
		}
		if got, err := storage.SHA256File(c.inputs(filepath.Join(claims, inputDir))[0]); err != nil || got != c.Files[0].SHA256 {
			t.Error(got, err)
		}
		h.Increments = append(h.Increments, continual.Increment{Number: h.Next(), Files: c.Files})
	}
	take(2, "1.txt 1b.txt", "")
	take(2, "2.txt", "") // 4.txt has its content
	take(2, "4.txt", "2.txt")
	take(2, "", "")
	b["mem://b/in/1.txt"], b["mem://b/in/3.txt"] = "one, again", "three"
	take(1, "1.txt", "")
	delete(b, "mem://b/in/3.txt")
	take(1, "", "")
	if _, err := newStream([]string{"none://b/in/"}); err == nil || !strings.Contains(err.Error(), "none://") {
		t.Error(err)
	}
	if _, err := newStream([]string{filepath.Join(t.TempDir(), "nothing here", "*.txt")}); err == nil ||
		!strings.Contains(err.Error(), "name a folder") {
		t.Error(err)
	}
}
