package runners

import (
	"context"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"

	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// EndOthers cancels the jobs that an earlier driver of the run has left on the job server, and waits a while for their end. Other runners
// have none: Prism's end with their driver, and Dataflow's are joined by their names.
func (r Runner) EndOthers(ctx context.Context) error {
	if r.InProcess() || r.Name == "dataflow" {
		return nil
	}
	server, err := jobs.Dial(ctx, r.Endpoint)
	if err != nil {
		return err
	}
	defer server.Close()
	return server.EndOthers(ctx, r.Job)
}

// remote executes a pipeline on a job server.
func remote(ctx context.Context, runner Runner, p *beam.Pipeline, name string) error {
	edges, _, err := p.Build()
	if err != nil {
		return err
	}
	// An interrupt must not cut the workers' connections: what they have done is saved first.
	lasting := context.WithoutCancel(ctx)
	env, stop, err := environment(lasting, runner)
	if err != nil {
		return err
	}
	defer stop()
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return err
	}
	server, err := jobs.Dial(ctx, runner.Endpoint)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.EndOthers(ctx, runner.Job); err != nil {
		return err
	}
	job, err := server.Submit(ctx, pipeline, runner.jobName(name))
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- job.Wait(lasting) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stopped, cancel := context.WithTimeout(lasting, patience)
	defer cancel()
	select { // training stops by itself at its next step; what does not is cancelled
	case <-done:
		return ctx.Err()
	case <-time.After(patience / 2):
	}
	job.Cancel(stopped)
	select {
	case <-done:
	case <-stopped.Done():
	}
	return ctx.Err()
}
