package pulled

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// model writes a folder with files, one in a folder of it, one by a link, one hidden.
func model(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, s := range map[string]string{"config.json": `{"a": 1}`, "model.safetensors": strings.Repeat(text, 1000), "onnx/x": "y",
		".cache/z": "hidden", "blob": "linked"} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("blob", filepath.Join(dir, "tokenizer.json")); err != nil {
		t.Skipf("symbolic links: %v", err)
	}
	return dir
}

// machine is another machine: a cache of its own, and a process that has pulled nothing.
func machine(t *testing.T) string {
	t.Helper()
	cache := t.TempDir()
	t.Setenv("ADAPTFLOW_CACHE", cache)
	forget()
	return cache
}

// forget makes this process another one of the machine, and ends the one that it was.
func forget() {
	held.Lock()
	defer held.Unlock()
	for _, f := range held.dirs {
		f.use.Unlock()
	}
	held.dirs = nil
}

// push is Push by another process.
func push(t *testing.T, dir, location string) string {
	t.Helper()
	held.Lock()
	was := held.dirs
	held.dirs = nil
	held.Unlock()
	ref, err := Push(t.Context(), dir, location)
	if err != nil {
		t.Fatal(err)
	}
	held.Lock()
	held.dirs = was
	held.Unlock()
	return ref
}

func same(t *testing.T, got, dir string) {
	t.Helper()
	for _, name := range []string{"config.json", "model.safetensors", "onnx/x", "blob", "tokenizer.json"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(got, name)); err != nil || string(b) != string(want) {
			t.Errorf("%s: %.20q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(got, ".cache")); err == nil {
		t.Error("what is hidden was pulled")
	}
}

// TestFolder: a folder that was pushed is pulled on another machine, once, by all who ask at the same time; the reference depends on what
// it holds alone; a path that is not a reference stays.
func TestFolder(t *testing.T) {
	dir, location := model(t, "a"), t.TempDir()
	machine(t)
	ref, err := Push(t.Context(), dir, location)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Push(t.Context(), model(t, "a"), location)
	if err != nil || again != ref || !IsRef(ref) {
		t.Fatalf("%s, then %s (%v)", ref, again, err)
	}
	if other, err := Push(t.Context(), model(t, "b"), location); err != nil || other == ref {
		t.Errorf("another folder is %s (%v)", other, err)
	}
	elsewhere, err := Push(t.Context(), dir, t.TempDir())
	if _, sum, _ := split(ref); err != nil || !strings.HasSuffix(elsewhere, mark+sum) || strings.Contains(ref, dir) {
		t.Errorf("elsewhere it is %s (%v), here %s", elsewhere, err, ref)
	}
	if got, err := Folder(t.Context(), ref); got == "" || strings.Contains(got, "pulled") || err != nil {
		t.Errorf("who pushed it pulls it as %s (%v)", got, err)
	}
	cache := machine(t)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			got, err := Folder(t.Context(), ref)
			if err != nil || !strings.HasPrefix(got, cache) {
				t.Errorf("%s: %v", got, err)
				return
			}
			same(t, got, dir)
		})
	}
	wait.Wait()
	if got, err := Folder(t.Context(), dir); got != dir || err != nil {
		t.Errorf("a path became %s (%v)", got, err)
	}
	// The location may go: what this machine has is whole. Another process of it needs the manifest alone.
	parts, _ := filepath.Glob(filepath.Join(location, "file-*"))
	sizes := map[string]int64{}
	for _, p := range parts {
		info, _ := os.Stat(p)
		sizes[p] = info.Size()
		os.Truncate(p, 0)
		os.Truncate(p, info.Size()) // zeros of the same size
	}
	forget()
	got, err := Folder(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, dir)
	// The processes that have ended left nothing.
	if uses, err := filepath.Glob(filepath.Join(cache, "pulled", "*"+usesExt, "*")); len(uses) != 1 || err != nil {
		t.Errorf("the folder's processes are %v (%v)", uses, err)
	}
	// A new machine sees that they were altered, keeps nothing of them, and says which.
	cache = machine(t)
	_, err = Folder(t.Context(), ref)
	if !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), "file-") {
		t.Errorf("altered files gave %v", err)
	}
}

// TestDamagedManifest: a manifest of another folder, or one that names files outside, is refused.
// TestRefer: a reference is known before anything is pushed.
func TestRefer(t *testing.T) {
	machine(t)
	dir, location := model(t, "weights"), filepath.Join(t.TempDir(), "location")
	ref, err := Refer(dir, location)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(location); err == nil {
		t.Error("the location was written to")
	}
	if got, err := Folder(t.Context(), ref); err != nil || got != dir {
		t.Errorf("the folder is %s, %v, want %s", got, err, dir)
	}
	if pushed := push(t, dir, location); pushed != ref {
		t.Errorf("pushed it is %s, and before it was %s", pushed, ref)
	}
}

func TestDamagedManifest(t *testing.T) {
	dir, location := model(t, "a"), t.TempDir()
	machine(t)
	ref := push(t, dir, location)
	uri, sum, _ := split(ref)
	raw, err := os.ReadFile(uri)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new string }{{"config.json", "../../etc/x"}, {"config.json", "other.json"},
		{"model.safetensors", "/x"}, {`"parts"`, `"parts_"`}} {
		if err := os.WriteFile(uri, []byte(strings.Replace(string(raw), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Folder(t.Context(), ref); err == nil {
			t.Errorf("%s in place of %s: %s", c.new, c.old, got)
		}
	}
	if err := os.WriteFile(uri, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Folder(t.Context(), uri+mark+strings.Repeat("0", 64)); err == nil {
		t.Error("another hash was taken")
	}
	for _, bad := range []string{uri + mark, mark + sum, uri + mark + "zz"} {
		if _, err := Folder(t.Context(), bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	if got, err := Folder(t.Context(), ref); err != nil {
		t.Errorf("%s: %v", got, err)
	}
}

// TestBound: what was used longest ago goes when the cache is full, what is in use stays, and what a kill has left goes.
func TestBound(t *testing.T) {
	location := t.TempDir()
	cache := machine(t)
	t.Setenv(Limit, "2500 B")
	var dirs []string
	pull := func(text string) string {
		t.Helper()
		ref := push(t, model(t, text), location)
		dir, err := Folder(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	half := filepath.Join(cache, "pulled", strings.Repeat("f", 32))
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b", "c"} {
		dirs = append(dirs, pull(text))
	}
	for _, d := range dirs {
		if _, err := os.Stat(d); err != nil {
			t.Errorf("in use: %v", err)
		}
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("what a kill has left is there")
	}
	forget()
	last := pull("d")
	for i, d := range append(dirs, last) {
		_, err := os.Stat(d)
		if (err == nil) != (i >= 2) { // 1000 bytes each, and a few
			t.Errorf("folder %d: %v", i, err)
		}
	}
	t.Setenv(Limit, "much")
	ref := push(t, model(t, "e"), location)
	if _, err := Folder(t.Context(), ref); err == nil || !strings.Contains(err.Error(), Limit) {
		t.Errorf("a wrong bound gave %v", err)
	}
}
