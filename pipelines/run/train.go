package run

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/train"
)

// Train runs or continues the training job.
func (r *Run) Train(ctx context.Context, d *Data) (*train.State, error) {
	job, err := r.Job(d)
	if err != nil {
		return nil, err
	}
	if err := r.initialise(ctx, &job); err != nil {
		return nil, err
	}
	if job, err = r.ForWorkers(ctx, job); err != nil {
		return nil, err
	}
	dir, err := job.Place()
	if err != nil {
		return nil, err
	}
	defer train.Watch(dir, func(p train.Progress) {
		if r.Step != nil && (p.Step != nil || p.Eval != nil) {
			r.Step(p.Total, p.Step, p.Eval)
		}
	})()
	mem.Heap(ctx, 50, 0) // weights and activations lie outside the heap; what is left is small
	if step, err := drive.Latest(job); err == nil && step > 0 {
		r.Tell("continuing from %s", storage.Join(r.WorkPath(workCheckpoints), filepath.Base(train.CheckpointDir(dir, step))))
	}
	before, err := r.sampling(ctx, job)
	if err != nil {
		return nil, err
	}
	end, err := r.tracked(ctx, job, dir)
	if err != nil {
		return nil, err
	}
	st, err := drive.Train(ctx, job, r.Runner, func(s string) { r.Tell("%s", s) }, before...)
	end(err)
	return st, err
}

// State reads the newest checkpoint of the run.
func (r *Run) State() (*train.State, error) {
	job := r.progress()
	step, err := drive.Latest(job)
	if err != nil {
		return nil, err
	}
	if step == 0 {
		return nil, fmt.Errorf("%s holds no checkpoint: train first (adaptflow train, with the same settings and --output)", r.Product())
	}
	dir, err := job.Checkpoint(step, "")
	if err != nil {
		return nil, err
	}
	return train.ReadState(dir)
}

// PointOf is where the adapter that training gave stands: at the checkpoint that the guard of forgetting chose, at the best one where the
// recipe asks for it, else at the last.
func (r *Run) PointOf(st *train.State) train.Point {
	if g := r.guarded(); g != nil {
		return train.Point{Step: g.Step}
	}
	if r.Recipe.Train.LoadBestModelAtEnd && st.BestStep > 0 {
		return train.Point{Step: st.BestStep}
	}
	return train.Point{Step: st.Step}
}
