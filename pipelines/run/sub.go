package run

import (
	"context"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
)

// Sub is a run of a recipe within r, in a folder of its output: it has r's model, and r's lock and lease, and is neither opened nor closed.
// Of a run with a work location it works in a folder there, where its shards and dead letters are, too; folders that were pushed for r
// serve it, and records that a driver before has left are brought to this machine.
func (r *Run) Sub(rec *recipe.Recipe, elem ...string) (*Run, error) {
	s := *r
	s.Recipe, s.Output = rec, filepath.Join(append([]string{r.Output}, elem...)...)
	if r.Work == "" || len(elem) == 0 {
		return &s, nil
	}
	s.root = r.rootWork()
	s.Work = storage.Join(r.Work, elem...)
	s.store = s.Work
	return &s, s.restore()
}

// rootWork is the work location of the run that was opened.
func (r *Run) rootWork() string {
	if r.root != "" {
		return r.root
	}
	return r.Work
}

// Discard removes what there is of a run within another: its folder, what it has at the work location, and what this machine keeps of its
// training.
func (r *Run) Discard(ctx context.Context) error {
	if r.Work != "" {
		if err := r.Held(); err != nil {
			return err
		}
		place, err := r.progress().Place()
		if err == nil {
			err = os.RemoveAll(place)
		}
		if err == nil {
			_, err = storage.RemoveTree(ctx, r.Work)
		}
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(r.Output)
}
