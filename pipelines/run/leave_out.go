package run

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// forgetIn takes the documents of r.Forgotten out of a prepared set: out of its dead letters, its shards, their manifest, and the
// record of it. Shards without them are written under names by content; those of before are deleted when nothing names them any more, so
// that a kill at any moment leaves a set that is whole, and the same again goes on.
func (r *Run) forgetIn(set string, res *prepare.Result) error {
	if len(r.Forgotten) == 0 || res.ManifestPath == "" {
		return nil
	}
	for _, file := range res.RejectFiles {
		if err := datasets.LeaveOutRejects(file, r.Forgotten); err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted by the user
			return err
		}
	}
	anew, err := r.leaveOut(res)
	if err != nil {
		return err
	}
	dir := res.ManifestPath[:len(res.ManifestPath)-len(datasets.ManifestName)-1]
	if len(anew) > 0 {
		if len(res.Train) == 0 {
			return fmt.Errorf("%s: nothing is left without the documents that were forgotten", setNames[set])
		}
		if err := errors.Join(r.Held(), relist(dir, res, anew), r.Unrecord("prepare-"+set)); err != nil {
			return err
		}
		if _, err := Record(r, "prepare-"+set, func() (*prepare.Result, error) { return res, nil }); err != nil {
			return err
		}
	}
	return sweepShards(dir, res)
}

// leaveOut writes a set's shards without the documents of r.Forgotten and describes those that had one, by the name of before.
func (r *Run) leaveOut(res *prepare.Result) (anew map[string]datasets.ShardInfo, err error) {
	anew = map[string]datasets.ShardInfo{}
	for _, shards := range [][]prepare.ShardRef{res.Train, res.Validation} {
		for i := range shards {
			info, err := datasets.LeaveOut(shards[i].Path, r.Forgotten)
			if err != nil {
				return nil, err
			}
			if info == nil {
				continue
			}
			ref := prepare.ShardRef{Path: info.Path, SHA256: info.SHA256, Rows: info.Rows, Tokens: info.Tokens, Supervised: info.Supervised,
				RowGroups: len(info.RowGroups)}
			for _, g := range info.RowGroups {
				ref.RowGroupSupervised = append(ref.RowGroupSupervised, g.Supervised)
			}
			before := name(shards[i].Path)
			shards[i], info.Path = ref, name(info.Path)
			anew[before] = *info
		}
	}
	empty := func(s prepare.ShardRef) bool { return s.Rows == 0 }
	res.Train, res.Validation = slices.DeleteFunc(res.Train, empty), slices.DeleteFunc(res.Validation, empty)
	return anew, nil
}

func name(file string) string { return path.Base(filepath.ToSlash(file)) }

// relist makes a folder's manifest name the shards that were written anew, which it may do already, and counts again.
func relist(dir string, res *prepare.Result, anew map[string]datasets.ShardInfo) error {
	m, err := datasets.ReadManifest(dir)
	if err != nil {
		return err
	}
	m.Tokens, m.Sequences = 0, 0
	for _, list := range []*[]datasets.ShardInfo{&m.Train, &m.Validation} {
		for i, s := range *list {
			if info, ok := anew[s.Path]; ok {
				(*list)[i] = info
			}
		}
		*list = slices.DeleteFunc(*list, func(s datasets.ShardInfo) bool { return s.Rows == 0 })
		for _, s := range *list {
			m.Tokens, m.Sequences = m.Tokens+s.Tokens, m.Sequences+s.Rows
		}
	}
	m.FillRate = float64(m.Tokens) / float64(m.Sequences*int64(m.SequenceLength))
	res.Tokens, res.Sequences, res.FillRate = m.Tokens, m.Sequences, m.FillRate
	_, err = datasets.WriteManifest(dir, m)
	return err
}

// sweepShards deletes the shards of a folder that its set does not name: those that hold what was forgotten.
func sweepShards(dir string, res *prepare.Result) error {
	files, err := storage.Glob(storage.Join(dir, "*.parquet"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	named := slices.Concat(res.Train, res.Validation)
	for _, f := range files {
		if !slices.ContainsFunc(named, func(s prepare.ShardRef) bool { return name(s.Path) == name(f) }) {
			if err := storage.Remove(f); err != nil {
				return err
			}
		}
	}
	return nil
}
