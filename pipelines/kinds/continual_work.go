package kinds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/train/continual"
)

// Continual learning whose output is on an object store has its history there, swapped by its version, so that of two drivers one adds an
// increment; the versions, written before the history names them, lie beside it. The copies of an increment's files, its shards,
// checkpoints and records, and what is replayed and scored on, are at the work location. The folders of this machine are copies.

// readHistory reads the history, and forgets what this machine has of increments: another driver may have gone on with them.
func (l *learner) readHistory(ctx context.Context) (err error) {
	here := l.path(HistoryFile)
	if l.Work == "" {
		l.history, err = continual.ReadHistory(here)
		return err
	}
	uri := l.Product(HistoryFile)
	raw, info, err := storage.Fetch(ctx, uri, storage.KindState)
	switch _, old := os.Stat(here); {
	case errors.Is(err, fs.ErrNotExist) && old == nil:
		return fmt.Errorf("an earlier version of adaptflow began the run, whose history and versions it kept on this machine (%s): go on "+
			"with that version, or choose another --output", filepath.Dir(here))
	case errors.Is(err, fs.ErrNotExist):
		raw, info.Version = nil, storage.Absent
	case err != nil:
		return err
	}
	l.version = info.Version
	if l.history, err = continual.ParseHistory(uri, raw); err != nil {
		return err
	}
	return os.RemoveAll(l.path(incrementsDir))
}

// writeHistory writes the history with an increment that was added, unless another driver has added one meanwhile.
func (l *learner) writeHistory(ctx context.Context) error {
	if l.Work == "" {
		return l.history.Write(l.path(HistoryFile))
	}
	if err := l.Held(); err != nil {
		return err
	}
	raw, err := l.history.Marshal()
	if err != nil {
		return err
	}
	v, err := storage.Swap(ctx, l.Product(HistoryFile), l.version, raw)
	if errors.Is(err, storage.ErrChanged) || errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("%w: another driver has added an increment; run again to go on from there", err)
	}
	if err == nil {
		l.version = v
	}
	return err
}

// mayWrite says whether this driver may still write what the next increment's history names.
func (l *learner) mayWrite(ctx context.Context) error {
	if l.Work == "" {
		return nil
	}
	if err := l.Held(); err != nil {
		return err
	}
	i, err := storage.Stat(ctx, l.Product(HistoryFile))
	if errors.Is(err, fs.ErrNotExist) {
		i.Version, err = storage.Absent, nil
	}
	if err == nil && i.Version != l.version {
		err = fmt.Errorf("%s: %w: another driver has added an increment; run again to go on from there", l.Product(HistoryFile),
			storage.ErrChanged)
	}
	return err
}

// fetchVersion brings a version of the output to this machine, unless it is here.
func (l *learner) fetchVersion(ctx context.Context, x *continual.Increment) error {
	if l.Work == "" {
		return nil
	}
	var there []string
	if err := storage.List(ctx, l.Product(x.Adapter), func(i storage.Info) error {
		there = append(there, i.URI)
		return nil
	}); err != nil {
		return err
	}
	if len(there) == 0 {
		return fmt.Errorf("%s: %w: the adapter is gone", l.Product(x.Adapter), fs.ErrNotExist)
	}
	if sum, err := versionSum(l.path(x.Adapter)); err == nil && sum == x.SHA256 {
		return nil
	}
	if err := os.RemoveAll(l.path(x.Adapter)); err != nil {
		return err
	}
	for _, uri := range there {
		if err := storage.CopyShared(l.path(strings.TrimPrefix(uri, l.Product()+"/")), uri); err != nil {
			return err
		}
	}
	return nil
}

// shareClaim copies the files of a claim, which this machine has, to the work location, and makes the claim there.
func (l *learner) shareClaim(ctx context.Context, number int, c *claim) error {
	if l.Work == "" {
		return nil
	}
	if err := l.mayWrite(ctx); err != nil {
		return err
	}
	here, there := l.path(incrementsDir, numbered(number)), l.WorkPath(incrementsDir, numbered(number))
	from := c.inputs(filepath.Join(here, inputDir))
	for i, to := range c.inputs(storage.Join(there, c.folder())) {
		if err := storage.CopyFile(to, from[i]); err != nil {
			return err
		}
	}
	raw, err := storage.MarshalJSON(c, " ")
	if err != nil {
		return err
	}
	uri := storage.Join(there, claimFile)
	if _, err = storage.PutIfAbsent(ctx, uri, bytes.NewReader(append(raw, '\n'))); errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("%w: another driver takes the increment; run again to go on from there", err)
	}
	return err
}

// fetchInputs brings the files of a claim to this machine, unless they are here.
func (l *learner) fetchInputs(number int, c *claim) error {
	if l.Work == "" {
		return nil
	}
	from := c.inputs(l.WorkPath(incrementsDir, numbered(number), c.folder()))
	for i, to := range c.inputs(l.path(incrementsDir, numbered(number), inputDir)) {
		if sum, err := storage.SHA256File(to); err == nil && sum == c.Files[i].SHA256 {
			continue
		}
		if err := storage.CopyFile(to, from[i]); err != nil {
			return err
		}
	}
	return nil
}

// settleWork removes from the work location what is not in keep of increments that are done and of older reservoirs.
func (l *learner) settleWork(ctx context.Context, keep map[string]bool) error {
	if l.Work == "" {
		return nil
	}
	for _, dir := range settled {
		names := map[string]bool{}
		root := l.WorkPath(dir)
		if err := storage.List(ctx, root, func(i storage.Info) error {
			name, _, _ := strings.Cut(strings.TrimPrefix(i.URI, root+"/"), "/")
			names[name] = true
			return nil
		}); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if keep[l.path(dir, name)] {
				continue
			}
			if err := storage.Remove(storage.Join(root, name)); err != nil { // of a reservoir
				return err
			}
			if _, err := storage.RemoveTree(ctx, storage.Join(root, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rejectsAfar copies an increment's dead letters to those of the run.
func (l *learner) rejectsAfar(s *run.Run, number int) error {
	files, err := storage.Glob(s.Product(run.RejectsDir, "*"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range files {
		if err := storage.CopyFile(l.Product(run.RejectsDir, numbered(number)+"-"+path.Base(f)), f); err != nil {
			return err
		}
	}
	return nil
}
