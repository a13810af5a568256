package peft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// replaceDir lets write fill a temporary folder beside dir and puts it in dir's place.
func replaceDir(dir string, write func(string) error) error {
	old := false
	if entries, err := os.ReadDir(dir); err == nil {
		old = true
		for _, e := range entries {
			if n := e.Name(); n != ConfigFile && n != TensorFile && n != hub.tensors && n != CardFile && n != modelFile &&
				!slices.Contains(adapterfile.TokenizerFiles, n) && !strings.HasPrefix(n, ".") {
				return fmt.Errorf("%s holds %s, which is not a file of an adapter; choose another folder or remove it", dir, n)
			}
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := storage.MkdirShared(filepath.Dir(dir)); err != nil {
		return err
	}
	mask := "." + filepath.Base(dir) + ".tmp-*"
	// What a killed writer of the same folder left; a folder has one writer at a time.
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), mask)); err == nil {
		for _, l := range left {
			if err := os.RemoveAll(l); err != nil {
				return err
			}
		}
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), mask)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fresh := filepath.Join(tmp, "new")
	if err := write(fresh); err != nil {
		return err
	}
	if old {
		if storage.Exchange(fresh, dir) == nil { // at no moment is there neither
			return nil
		}
		if err := os.Rename(dir, filepath.Join(tmp, "old")); err != nil {
			return err
		}
	}
	if err := os.Rename(fresh, dir); err != nil {
		if old {
			err = errors.Join(err, os.Rename(filepath.Join(tmp, "old"), dir))
		}
		return err
	}
	return nil
}

// CopyFolder makes the adapter folder at to a copy of the one at from, as a whole or not at all. What else to holds is an error that names
// it.
func CopyFolder(to, from string) error {
	return replaceDir(to, func(dir string) error {
		es, err := os.ReadDir(from)
		if err != nil {
			return err
		}
		for _, e := range es {
			if err := storage.CopyShared(filepath.Join(dir, e.Name()), filepath.Join(from, e.Name())); err != nil {
				return err
			}
		}
		return nil
	})
}
