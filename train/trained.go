package train

import (
	"context"
	"errors"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// Point is where an adapter stands: nowhere, which leaves the base alone, where training starts, or at a checkpoint.
type Point struct {
	Start bool `json:"start,omitempty"` // the values of Job.InitAdapter
	Step  int  `json:"step,omitempty"`  // of a checkpoint
}

// Alone says that there is no adapter.
func (p Point) Alone() bool { return p == Point{} }

// Trained is the base model of a job in memory, and its adapter as it stands at a point.
type Trained struct {
	Job     Job // as it is on this machine
	Model   *model.Model
	Adapter *peft.Adapter // nil of the base alone
	Params  *nn.Params    // the adapter's values are in the first slot

	held *Held
}

// OpenTrained opens what training a job gave, wherever its checkpoints are. Of the job it takes what the model, the method and the places
// are, and no data. The caller closes it.
func OpenTrained(ctx context.Context, job Job, at Point) (_ *Trained, err error) {
	if err := job.sameKernels(); err != nil {
		return nil, err
	}
	if job, err = job.here(); err != nil {
		return nil, err
	}
	if err := job.Pull(ctx); err != nil {
		return nil, err
	}
	t := &Trained{Job: job, Params: nn.NewParams(1)}
	defer func() {
		if err != nil {
			_ = t.Close() // the error is the one before
		}
	}()
	if t.held, err = Hold(job.Model, job.DType, job.Task); err != nil {
		return nil, err
	}
	if t.Model = t.held.Model; at.Alone() {
		return t, nil
	}
	if t.Adapter, err = OpenAdapter(t.Model, job.InitAdapter, job.Method, job.Config, job.BaseName, job.Args.Seed); err != nil {
		return nil, err
	}
	t.Params.Free()
	if t.Params, err = t.Adapter.NewParams(1); err != nil {
		return nil, err
	}
	if at.Start {
		return t, t.Adapter.Load(t.Params)
	}
	dir, err := job.Checkpoint(at.Step, optimizerFile)
	if err != nil {
		return nil, err
	}
	return t, ReadAdapter(dir, t.Adapter, t.Params)
}

// Close frees the adapter's values, and gives the base up.
func (t *Trained) Close() error {
	if t.Params != nil {
		t.Params.Free()
	}
	return t.held.Release()
}

// sameKernels refuses a job that was begun with other kernels than this process has.
func (j *Job) sameKernels() error {
	return kernels.Same(j.KernelSet)
}

// InRun is ctx, which ends also when the run of the folder dir is interrupted, which this process drives: see [Drive].
func InRun(ctx context.Context, dir string) (context.Context, func()) {
	driven.Lock()
	run := driven.runs[dir]
	driven.Unlock()
	if run == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(run, func() { cancel(errors.Join(ErrInterrupted, context.Cause(run))) })
	return ctx, func() { stop(); cancel(nil) }
}
