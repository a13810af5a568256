package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
)

// Folders are where adapters lie. A folder is an adapter's, or that of a run that ends with one: the adapter in adapter/, or that which the
// file current names, as a run of continual learning keeps it: a server follows it.
type Folders struct {
	Named []infer.Named // by name
	Dir   string        // any folder in it is an adapter, by the folder's name; "" for none
	// ByKey finds the folder in Dir of an adapter by another name than its folder's, "" where there is none; nil for none at all.
	ByKey func(dir, name string) (string, error)

	more *loaded // at run time; nil for none
}

// loaded are adapters that were named at run time.
type loaded struct {
	from string // where they must lie
	mu   sync.RWMutex
	list []infer.Named
}

// named are the adapters that have names of their own: those from the start, and those of run time.
func (f *Folders) named() []infer.Named {
	if f.more == nil {
		return f.Named
	}
	f.more.mu.RLock()
	defer f.more.mu.RUnlock()
	return slices.Concat(f.Named, f.more.list)
}

// edition is an adapter as its folder has it.
type edition struct{ name, folder, sum string }

func (e edition) key() string { return e.name + "\x00" + e.folder + "\x00" + e.sum }

// Names lists the adapters, sorted.
func (f *Folders) Names() []string {
	var out []string
	for _, n := range f.named() {
		out = append(out, n.Name)
	}
	if f.Dir != "" {
		entries, _ := os.ReadDir(f.Dir)
		for _, e := range entries {
			if at, err := f.inDir(e.Name()); err == nil && at != "" && !slices.Contains(out, e.Name()) {
				out = append(out, e.Name())
			}
		}
	}
	slices.Sort(out)
	return out
}

// find is the adapter of a name as it is now; a zero edition where there is none.
func (f *Folders) find(name string) (edition, error) {
	at, own := "", -1
	for i, n := range f.named() {
		if n.Name == name {
			at, own = n.Dir, i
		}
	}
	if at == "" && f.Dir != "" {
		var err error
		if at, err = f.inDir(name); err != nil {
			return edition{}, err
		}
	}
	if at == "" {
		return edition{}, nil
	}
	folder, err := adapterIn(at)
	if err != nil || folder == "" {
		return edition{}, err
	}
	if own >= len(f.Named) && !within(f.more.from, folder) { // a link has changed since
		return edition{}, nil
	}
	e := edition{name: name, folder: folder}
	for _, file := range []string{filepath.Join(folder, peft.ConfigFile), peft.TensorPath(folder)} {
		info, err := os.Stat(file)
		if err != nil {
			return edition{}, fmt.Errorf("the adapter %q: %w", name, err)
		}
		e.sum += fmt.Sprintf("%d %d ", info.Size(), info.ModTime().UnixNano())
	}
	return e, nil
}

// inDir is the folder of a name in f.Dir, "" where there is none: no path, and no way out of f.Dir.
func (f *Folders) inDir(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", nil
	}
	if name == filepath.Base(name) && filepath.IsLocal(name) && !strings.HasPrefix(name, ".") {
		at := filepath.Join(f.Dir, name)
		if folder, err := adapterIn(at); err == nil && folder != "" && within(f.Dir, folder) {
			return at, nil
		}
	}
	if f.ByKey == nil {
		return "", nil
	}
	at, err := f.ByKey(f.Dir, name)
	if err != nil || at == "" || !within(f.Dir, at) {
		return "", err
	}
	return at, nil
}

// within says whether what a path leads to lies in a folder.
func within(dir, path string) bool {
	d, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	p, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(d, p)
	return err == nil && filepath.IsLocal(rel)
}

// currentFile names the folder of the adapter in use, in the folder of a run of continual learning.
const currentFile = "current"

// adapterIn is the folder of the adapter that a folder is or has; "" for none.
func adapterIn(dir string) (string, error) {
	is := func(at string) bool {
		_, err := os.Stat(filepath.Join(at, peft.ConfigFile))
		return err == nil
	}
	if is(dir) {
		return dir, nil
	}
	raw, err := storage.ReadSmall(filepath.Join(dir, currentFile), storage.KindNote)
	switch {
	case err == nil:
		to := strings.TrimSpace(string(raw))
		if at := filepath.Join(dir, to); filepath.IsLocal(to) && is(at) {
			return at, nil
		}
		return "", fmt.Errorf("%s names %q, which is not the folder of an adapter in it", filepath.Join(dir, currentFile), to)
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) && !isNoFolder(dir):
		return "", err
	}
	if at := filepath.Join(dir, "adapter"); is(at) {
		return at, nil
	}
	return "", nil
}

func isNoFolder(path string) bool {
	info, err := os.Stat(path)
	return err != nil || !info.IsDir()
}
