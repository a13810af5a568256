package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// summary is the file that makes the run finished; on an object store it is written last.
func (r *Run) summary() string {
	if r.Summary != "" {
		return r.Summary
	}
	return MetricsFile
}

// place makes room for an output on an object store. Shards and dead letters are written there as they come; whatever is rewritten, locked
// or renamed (checkpoints, records of stages, the adapter) lies in a folder of this machine's cache, r.Output from here on, and what users
// want of it is published when it is whole. So the same command on the same machine continues an interrupted run; another machine starts it
// anew, and sees a finished one.
func (r *Run) place() error {
	if storage.IsLocal(r.Output) {
		return nil
	}
	cache, err := storage.CacheDir()
	if err != nil {
		return err
	}
	uri := strings.TrimRight(r.Output, "/")
	dir := filepath.Join(cache, "runs", storage.SHA256([]byte(uri))[:16])
	if r.Runner.Dry() { // a folder of its own, which ends with it: of what there may be, nothing is known
		r.store, r.Output = uri, dir+"-dry"
		return empty(r.Output)
	}
	if err := storage.Reach(storage.Join(uri, RecipeFile)); err != nil {
		return fmt.Errorf("output %w", err)
	}
	text, err := storage.ReadFile(storage.Join(uri, RecipeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist): // what is here is of an output that has been deleted
		if err := empty(dir); err != nil {
			return err
		}
	case err != nil:
		return err
	case !r.sameRecipe(text):
		return otherRecipe(uri)
	default:
		for _, name := range []string{RecipeFile, r.summary()} {
			raw, err := storage.ReadFile(storage.Join(uri, name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = storage.WriteFile(filepath.Join(dir, name), raw)
			}
			if err != nil {
				return err
			}
		}
	}
	// The folder's name is a part of a hash: what it is of is compared.
	mark := filepath.Join(dir, ".output")
	if of, err := storage.ReadSmall(mark, storage.KindState); err == nil && string(of) != uri {
		return fmt.Errorf("%s is of the output %s and not of %s: finish that run first, or set ADAPTFLOW_CACHE to another folder",
			dir, of, uri)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := storage.WriteFile(mark, []byte(uri)); err != nil {
		return err
	}
	r.store, r.Output = uri, dir
	return nil
}

// empty removes what is in a folder of the cache, unless another process works in it.
func empty(dir string) error {
	lock, err := storage.LockDir(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", storage.ErrInUse, err)
	}
	defer lock.Unlock()
	es, err := os.ReadDir(dir)
	for _, e := range es {
		if e.Name() != storage.LockName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

func otherRecipe(output string) error {
	return fmt.Errorf("%w: %s holds a run of another recipe, or with other settings (%s there has them): choose another --output, or "+
		"delete the folder", storage.ErrInUse, output, RecipeFile)
}

// Publish copies a finished run to its object store: all but hidden files, checkpoints and records of stages, the summary last.
func (r *Run) Publish() error {
	if r.store == "" {
		return nil
	}
	var files []string
	if err := filepath.WalkDir(r.Output, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(r.Output, p)
		hidden := strings.HasPrefix(d.Name(), ".") && p != r.Output
		switch {
		case d.IsDir() && (hidden || rel == "checkpoints" || rel == "stages" || rel == "trials" || rel == "increments"):
			return filepath.SkipDir
		case !d.IsDir() && !hidden:
			files = append(files, rel)
		}
		return err
	}); err != nil {
		return err
	}
	last := func(f string) int {
		if f == r.summary() {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(files, func(a, b string) int { return last(a) - last(b) })
	for _, f := range files {
		if err := storage.CopyFile(storage.Join(r.store, f), filepath.Join(r.Output, f)); err != nil {
			return err
		}
	}
	if err := r.sweepWork(context.Background()); err != nil {
		return err
	}
	r.Tell("published to %s", r.store)
	return nil
}

// filesOf are the files of a folder, or the file itself.
func filesOf(path string) (out []string, err error) {
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, p)
		}
		return err
	})
	return out, err
}
