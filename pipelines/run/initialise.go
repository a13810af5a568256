package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/train"
)

// InitDir is the folder in an output folder of the adapter that training starts from, where its starting values come from the data
// (init_lora_weights: eva).
const InitDir = "init"

// initDir is the folder of the adapter that training starts from: the recipe's, or what [Run.initialise] wrote; empty for a new one.
func (r *Run) initDir() (string, error) {
	if r.Recipe.Train.InitAdapter != "" {
		return r.Recipe.Train.InitAdapter, nil
	}
	a, err := r.Adapter("")
	if err != nil || !a.NeedsData() {
		return "", err
	}
	return filepath.Join(r.Output, InitDir), nil
}

// initialise makes the adapter that training starts from, where that needs a pass over the training data.
func (r *Run) initialise(ctx context.Context, job *train.Job) error {
	dir, err := r.initDir()
	if err != nil || dir == r.Recipe.Train.InitAdapter {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) { // another machine made it: it is made again, to the same bytes
		if err := storage.Remove(r.RecordPath("init")); err != nil {
			return err
		}
	}
	_, err = Record(r, "init", func() (string, error) {
		r.Tell("initialising the adapter from the activations of the training data")
		a, err := r.Adapter("")
		if err != nil {
			return "", err
		}
		var paths []string
		for _, s := range job.Train {
			paths = append(paths, s.Path)
		}
		data, err := train.OpenTraining(&job.Args, paths)
		if err != nil {
			return "", err
		}
		defer data.Within(r.model.Config.Vocab).Close()
		if err := train.InitializeAdapter(ctx, a, r.model, &job.Args, data, r.pool, dir, func(s string) { r.Tell("%s", s) }); err != nil {
			if ctx.Err() != nil {
				return "", ctx.Err()
			}
			return "", fmt.Errorf("initialising the adapter: %w", err)
		}
		return InitDir, nil
	})
	job.InitAdapter = dir
	return err
}
