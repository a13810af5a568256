package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// BrokenShards says what is wrong with the shards that a set's record names; "" where nothing is, or there is no record.
func (r *Run) BrokenShards(set string) (res prepare.Result, why string, err error) {
	raw, err := storage.ReadSmall(r.RecordPath("prepare-"+set), storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return res, "", nil
	}
	if err != nil {
		return res, "", err
	}
	if json.Unmarshal(raw, &res) != nil { // record says so
		return res, "", nil
	}
	for _, s := range slices.Concat(res.Train, res.Validation) {
		if !storage.IsLocal(s.Path) {
			continue
		}
		if why, err = wrong(s.Path, filepath.Base(s.Path), s.SHA256); why != "" || err != nil {
			break
		}
	}
	return res, why, err
}

// again prepares a set again whose shards are missing or damaged, and checks that they are as they were: what was trained on them depends
// on it.
func (r *Run) again(set string, prep func() (*prepare.Result, error)) error {
	was, why, err := r.BrokenShards(set)
	if err != nil || why == "" {
		return err
	}
	r.Tell("the folder of shards of %s %s: they are made again", setNames[set], why)
	res, err := prep()
	if err != nil {
		return fmt.Errorf("the shards of %s are broken (%s) and cannot be made again: %w; restore them, or choose another --output",
			setNames[set], why, err)
	}
	a, b := slices.Concat(was.Train, was.Validation), slices.Concat(res.Train, res.Validation)
	if !slices.EqualFunc(a, b, func(x, y prepare.ShardRef) bool { return x.SHA256 == y.SHA256 }) {
		return fmt.Errorf("the shards of %s were broken (%s), and those made again are others: the input has changed since; restore it, "+
			"or choose another "+
			"--output", setNames[set], why)
	}
	return nil
}

// wrong says what is wrong with a file that had a checksum, "" for one that is not known: nothing where it is empty.
func wrong(path, name, sum string) (string, error) {
	got, err := storage.SHA256File(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "lacks " + name, nil
	case err != nil:
		return "", err
	case sum != "" && got != sum:
		return "has a damaged file, " + name, nil
	}
	return "", nil
}
