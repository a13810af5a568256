package pulled

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// held are the folders that this process has pulled and uses, by path, with the locks that keep other processes from removing them.
var held struct {
	sync.Mutex
	dirs map[string]*folder
}

type folder struct {
	once sync.Mutex
	dir  string
	use  *storage.Lock // kept until the process ends
}

// Folder returns the local folder of a reference, pulled into this machine's cache where it is not there. What is not a reference is
// returned as it is. The folder stays until the process ends: a worker has one base and one tokenizer.
func Folder(ctx context.Context, ref string) (string, error) {
	if !IsRef(ref) {
		return ref, nil
	}
	uri, sum, err := split(ref)
	if err != nil {
		return "", err
	}
	return keep(sum, uri, func(root string) (string, *storage.Lock, error) { return pull(ctx, root, uri, sum) })
}

// keep returns the local folder with a sum, which bring brings from a URI where this process does not have it yet.
func keep(sum, uri string, bring func(root string) (string, *storage.Lock, error)) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	held.Lock()
	if held.dirs == nil {
		held.dirs = map[string]*folder{}
	}
	at := filepath.Join(root, sum[:32])
	f := held.dirs[at]
	if f == nil {
		f = &folder{}
		held.dirs[at] = f
	}
	held.Unlock()
	f.once.Lock()
	defer f.once.Unlock()
	if f.dir != "" {
		return f.dir, nil
	}
	if f.dir, f.use, err = bring(root); err != nil {
		return "", fmt.Errorf("pulling %s: %w", uri, err)
	}
	return f.dir, nil
}

// mine notes that this process has a folder, which it need not pull.
func mine(sum, dir string) {
	root, err := Root()
	if err != nil {
		return
	}
	held.Lock()
	defer held.Unlock()
	if held.dirs == nil {
		held.dirs = map[string]*folder{}
	}
	if at := filepath.Join(root, sum[:32]); held.dirs[at] == nil {
		held.dirs[at] = &folder{dir: dir}
	}
}

// Root is the folder of what was pulled, in the cache folder.
func Root() (string, error) {
	cache, err := storage.CacheDir()
	return filepath.Join(cache, "pulled"), err
}

// pullExt ends the name of the folder by whose lock one process at a time pulls.
const pullExt = ".pull"

// wholeFile is in a folder that was pulled whole.
const wholeFile = ".whole.json"

// whole is what it says.
type whole struct {
	SHA256 string    `json:"sha256"`
	Bytes  int64     `json:"bytes"`
	Used   time.Time `json:"used"`
}

// file is a file of a folder to bring.
type file struct {
	name string // in the folder, with slashes
	size int64
	get  func(ctx context.Context, to string) error
}

// checkName refuses what is not a name of a file within a folder.
func checkName(n string) error {
	if n != path.Clean(n) || path.IsAbs(n) || strings.ContainsAny(n, "\\\x00") || strings.HasPrefix(n, ".") {
		return fmt.Errorf("%w: it names the file %q", storage.ErrDamaged, n)
	}
	return nil
}

// pull brings a pushed folder into root and returns it with a lock that it is used by.
func pull(ctx context.Context, root, uri, sum string) (dir string, use *storage.Lock, err error) {
	set, err := storage.ReadSet(ctx, uri)
	if err != nil {
		return "", nil, err
	}
	var a about
	if err := json.Unmarshal(set.About, &a); err != nil || len(a.Names) != len(set.Parts) {
		return "", nil, fmt.Errorf("%w: it is not a list of a folder's files", storage.ErrDamaged)
	}
	if got := content(a.Names, set.Parts); got != sum {
		return "", nil, fmt.Errorf("%w: it lists a folder with the hash %s, and %s was meant", storage.ErrDamaged, got, sum)
	}
	files := make([]file, len(set.Parts))
	for i, p := range set.Parts {
		if err := checkName(a.Names[i]); err != nil {
			return "", nil, err
		}
		files[i] = file{a.Names[i], p.Size, func(ctx context.Context, to string) error { return fetch(ctx, set, p, to) }}
	}
	return bring(ctx, root, sum, files)
}

// bring makes a folder of files in root and returns it with a lock that it is used by. One process of a machine does, the others wait.
func bring(ctx context.Context, root, sum string, files []file) (dir string, use *storage.Lock, err error) {
	dir = filepath.Join(root, sum[:32])
	lock, err := waitFor(ctx, dir+pullExt)
	if err != nil {
		return "", nil, err
	}
	defer lock.Unlock()
	if use, err = begin(dir); err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			use.Unlock()
		}
	}()
	need := int64(0)
	for _, f := range files {
		need += f.size
	}
	if !intact(dir, sum, files) {
		if err := evict(root, dir, need); err != nil {
			return "", nil, err
		}
		for _, f := range files {
			if err := f.get(ctx, filepath.Join(dir, filepath.FromSlash(f.name))); err != nil {
				return "", nil, err
			}
		}
	}
	return dir, use, storage.WriteJSON(filepath.Join(dir, wholeFile), whole{sum, need, time.Now().UTC()})
}

// intact says whether a folder was brought whole and its files still have their sizes.
func intact(dir, sum string, files []file) bool {
	w, err := readWhole(dir)
	if err != nil || w.SHA256 != sum {
		return false
	}
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(f.name)))
		if err != nil || !info.Mode().IsRegular() || info.Size() != f.size {
			return false
		}
	}
	return true
}

func readWhole(dir string) (w whole, err error) {
	raw, err := storage.ReadSmall(filepath.Join(dir, wholeFile), storage.KindState)
	if err == nil {
		err = json.Unmarshal(raw, &w)
	}
	return w, err
}

// fetch copies a part to a file and compares its checksum. A file that is there with it stays.
func fetch(ctx context.Context, set *storage.Set, p storage.Part, to string) error {
	if info, err := os.Stat(to); err == nil && info.Size() == p.Size {
		if sum, err := storage.SHA256File(to); err == nil && sum == p.SHA256 {
			return nil
		}
	}
	from, err := set.Open(p)
	if err != nil {
		return err
	}
	defer from.Close()
	f, err := storage.Create(to)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := io.Copy(f, &interruptible{ctx, storage.NewReader(from)}); err != nil {
		return fmt.Errorf("%s: %w", set.PartURI(p), err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	sum, err := storage.SHA256File(to)
	if err != nil {
		return err
	}
	if sum != p.SHA256 {
		return errors.Join(fmt.Errorf("%s: %w: its content was altered; push the folder again", set.PartURI(p), storage.ErrDamaged),
			os.Remove(to))
	}
	return nil
}

// interruptible reads until the context ends.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}

// waitFor takes the lock of a folder when another process gives it free.
func waitFor(ctx context.Context, dir string) (*storage.Lock, error) {
	for {
		l, err := storage.LockDir(dir)
		if !errors.Is(err, storage.ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
