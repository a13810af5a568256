package jobs

import (
	"context"
	"errors"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
)

// inProcess is this process's Prism.
var inProcess struct {
	sync.Mutex
	*Server
}

// prismServer returns this process's Prism, and starts it where it does not run yet.
func prismServer(ctx context.Context) (*Server, error) {
	inProcess.Lock()
	defer inProcess.Unlock()
	if inProcess.Server != nil {
		return inProcess.Server, nil
	}
	s, err := startPrism(ctx, confine)
	if err != nil {
		return nil, err
	}
	inProcess.Server = s
	return s, nil
}

// ErrNotInitialised is the error of a program that has not begun as a Beam program: beam.Init, which also sets how Beam logs, is the
// program's to call.
var ErrNotInitialised = errors.New("beam.Init has not been called: call it at the start of main")

// Prism runs a pipeline on Prism, in this process, and waits for its end. It is not to be cancelled: Prism panics where a job is
// cancelled while its worker starts. Beam must have been initialised: see
// [ErrNotInitialised].
func Prism(ctx context.Context, p *beam.Pipeline, name string) error {
	_, err := runPrism(ctx, p, name, false)
	return err
}

// PrismMetrics is [Prism], and returns what the steps of the pipeline counted.
func PrismMetrics(ctx context.Context, p *beam.Pipeline, name string) (*metrics.Results, error) {
	return runPrism(ctx, p, name, true)
}

func runPrism(ctx context.Context, p *beam.Pipeline, name string, measure bool) (*metrics.Results, error) {
	if !beam.Initialized() {
		return nil, ErrNotInitialised
	}
	edges, _, err := p.Build()
	if err != nil {
		return nil, err
	}
	server, err := prismServer(ctx)
	if err != nil {
		return nil, err
	}
	env, stop, err := Loopback(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return nil, err
	}
	hide(pipeline)
	job, err := server.Submit(ctx, pipeline, name)
	if err != nil {
		return nil, err
	}
	if err := job.Wait(ctx); err != nil || !measure {
		return nil, err
	}
	return job.Metrics(ctx, pipeline)
}
