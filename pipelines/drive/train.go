// Package drive drives a training job to its end through a Beam runner, in segments that each end with a checkpoint, from which a failed or
// interrupted training goes on. What it knows of a job is its settings, its shards and its folder: recipes and output folders are
// another's.
package drive

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/pipelines/runners"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/train"
)

// maxAttempts bounds how often the driver runs a failed segment: Prism does not retry a DoFn.
const maxAttempts = 3

// Before is what a segment does before it trains from the step in at; it returns that step.
type Before func(s beam.Scope, at beam.PCollection) beam.PCollection

// Train drives a job to its end, in segments that each end with a checkpoint, and returns the last state. A job whose folder holds
// checkpoints continues from the newest. note, if not nil, receives segments that failed and are tried again.
// before are done at the beginning of each part of a segment, such as the sampling of what it is trained on.
func Train(ctx context.Context, job core.Job, runner runners.Runner, note func(string), before ...Before) (*core.State, error) {
	raw, err := json.Marshal(&job)
	if err != nil {
		return nil, err
	}
	js := string(raw)
	dir, err := job.Place()
	if err != nil {
		return nil, err
	}
	defer core.Drive(ctx, dir)()
	var total int
	// Opened here first, so that what is wrong with the settings is an error of the driver and not of a pipeline.
	if err := core.Use(js, func(s *core.Session) error { total = s.Total(); return nil }); err != nil {
		return nil, err
	}
	step, err := Latest(job)
	if err != nil {
		return nil, err
	}
	// A checkpoint that belongs to another run is found before anything is written.
	if err := core.Use(js, func(s *core.Session) error { return s.AtStep(step) }); err != nil {
		return nil, err
	}
	for attempt := 0; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if step > 0 {
			st, err := job.StateOf(step)
			if err != nil {
				return nil, err
			}
			if step >= total || st.Stopped {
				return st, nil
			}
		}
		stop := func() {}
		if runner.Remote() {
			stop = follow(job, dir, step, total)
		}
		err := segment(ctx, job, js, runner, step, job.Boundary(step, total), total, before)
		stop()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		now, lerr := Latest(job)
		if lerr != nil {
			return nil, lerr
		}
		switch {
		case now > step: // what counts is the manifest
			step, attempt = now, 0
		case err == nil:
			return nil, fmt.Errorf("the segment after step %d ended without a checkpoint", step)
		default:
			if attempt++; attempt == maxAttempts {
				return nil, err
			}
			if note != nil {
				note(fmt.Sprintf("the segment after step %d failed and is tried again (%d of %d): %v", step, attempt+1, maxAttempts, err))
			}
		}
	}
}

// Latest is the step of the newest checkpoint of a job, 0 where there is none.
func Latest(job core.Job) (int, error) {
	steps, err := job.Checkpoints()
	if err != nil || len(steps) == 0 {
		return 0, err
	}
	return steps[len(steps)-1], nil
}

// unrolled is how many checkpoints' work one job does on a job server, where starting a job costs seconds. On Prism it costs milliseconds.
const unrolled = 10

// segment runs one pipeline from step up to the step to, or on a job server up to some checkpoints more.
func segment(ctx context.Context, job core.Job, js string, runner runners.Runner, step, to, total int, before []Before) error {
	p, s := runners.NewPipeline()
	at := beam.Create(s, step)
	parts := 1
	if !runner.InProcess() && job.Args.EarlyStoppingPatience == 0 { // whether to stop is the driver's to see
		parts = unrolled
	}
	from := step
	for range parts {
		for _, b := range before {
			at = b(s, at)
		}
		if job.Args.Replicas == 1 {
			at = train.Segment(s, js, at, to)
		} else {
			n := from
			for ; n < to; n += job.RoundSteps(n, total) {
				if k := job.Args.OptimizerShards; k > 1 {
					at = train.ShardedRound(s, js, job.Args.Replicas, k, at)
				} else {
					at = train.Round(s, js, job.Args.Replicas, at)
				}
			}
			at, to = train.Checkpoint(s, js, at), n // the last round may go past the boundary
		}
		if to >= total {
			break
		}
		from, to = to, job.Boundary(to, total)
	}
	end.Of(s, at)
	return runner.Run(ctx, p, fmt.Sprintf("adaptflow-train-%d", step))
}

// First runs the first segment of a job that is not opened, of which a dry run shows the graph: see [runners.ErrDryRun].
func First(ctx context.Context, job core.Job, runner runners.Runner, before ...Before) error {
	raw, err := json.Marshal(&job)
	if err != nil {
		return err
	}
	total := max(job.Args.MaxSteps, 1)
	return segment(ctx, job, string(raw), runner, 0, job.Boundary(0, total), total, before)
}
