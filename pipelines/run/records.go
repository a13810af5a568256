package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Record reads what a finished stage left, or runs it and records what it gave.
func Record[V any](r *Run, name string, stage func() (V, error)) (V, error) {
	path := r.RecordPath(name)
	var v V
	raw, err := storage.ReadSmall(path, storage.KindState)
	if err == nil {
		if err := json.Unmarshal(raw, &v); err != nil {
			return v, fmt.Errorf("%s: %w: delete it to run the stage again", path, err)
		}
		return v, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	if v, err = stage(); err != nil {
		return v, err
	}
	if raw, err = storage.MarshalJSON(v, " "); err != nil {
		return v, err
	}
	if err := storage.MkdirAll(filepath.Dir(path)); err != nil {
		return v, err
	}
	if err := r.noteBegun(); err != nil {
		return v, err
	}
	if err := storage.WriteFile(path, raw); err != nil {
		return v, err
	}
	return v, r.Keep(path)
}

// Unrecord removes the record of a stage, which is run again then.
func (r *Run) Unrecord(name string) error {
	if err := storage.Remove(r.RecordPath(name)); err != nil || r.Work == "" {
		return err
	}
	return storage.Remove(r.WorkPath(workStages, filepath.Base(r.RecordPath(name))))
}
