package pulled

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Limit is the variable that bounds the cache of what was pulled, in bytes or as "20 GiB"; what is in use is not removed for it.
const Limit = "ADAPTFLOW_PULLED_BYTES"

// defaultLimit is the bound where the variable is not set.
const defaultLimit = 64 << 30

func limit() (int64, error) {
	text := os.Getenv(Limit)
	if text == "" {
		return defaultLimit, nil
	}
	n, err := storage.ParseSize(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", Limit, err)
	}
	return n, nil
}

// evict removes what was used longest ago, and is not used now, until need more bytes fit.
func evict(root, keep string, need int64) error {
	most, err := limit()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	type old struct {
		dir string
		whole
	}
	var all []old
	sum := need
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		if !e.IsDir() || strings.HasSuffix(e.Name(), pullExt) || strings.HasSuffix(e.Name(), usesExt) || dir == keep {
			continue
		}
		w, err := readWhole(dir)
		if err != nil { // what a kill has left: it has no time, and goes first
			w = whole{}
		}
		all = append(all, old{dir, w})
		sum += w.Bytes
	}
	slices.SortFunc(all, func(a, b old) int { return a.Used.Compare(b.Used) })
	for _, o := range all {
		if sum <= most && !o.Used.IsZero() {
			break
		}
		gone, err := remove(o.dir)
		if err != nil {
			return err
		}
		if gone {
			sum -= o.Bytes
		}
	}
	return nil
}

// usesExt ends the name of the folder in which each process that uses a pulled folder has a folder of its own, locked.
const usesExt = ".uses"

// remove removes a folder that no process uses, and says whether it did.
func remove(dir string) (bool, error) {
	pulling, err := storage.LockDir(dir + pullExt)
	if errors.Is(err, storage.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer pulling.Unlock()
	users, err := filepath.Glob(filepath.Join(dir+usesExt, "*"))
	if err != nil {
		return false, err
	}
	for _, u := range users {
		l, err := storage.LockDir(u)
		if errors.Is(err, storage.ErrLocked) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer l.Unlock() // its process has ended
	}
	return true, errors.Join(os.RemoveAll(dir), os.RemoveAll(dir+usesExt))
}

// begin says that this process uses a folder, until the process ends or the lock does. It is called under the lock of pulling.
func begin(dir string) (*storage.Lock, error) {
	if err := storage.MkdirAll(dir + usesExt); err != nil {
		return nil, err
	}
	earlier, err := os.ReadDir(dir + usesExt)
	if err != nil {
		return nil, err
	}
	for _, e := range earlier { // those of processes that have ended
		at := filepath.Join(dir+usesExt, e.Name())
		if l, err := storage.LockDir(at); err == nil {
			if err := errors.Join(l.Remove(), os.RemoveAll(at)); err != nil {
				return nil, err
			}
		}
	}
	mine, err := os.MkdirTemp(dir+usesExt, "process-")
	if err != nil {
		return nil, err
	}
	return storage.LockDir(mine)
}
