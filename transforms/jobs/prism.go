package jobs

import (
	"context"
	"fmt"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"
)

// Loopback is an environment whose DoFns run in this process, which a server sends its bundles back to. stop is called when the job has ended.
func Loopback(ctx context.Context) (env *pipepb.Environment, stop func(), err error) {
	// Workers would send what Beam logs to the server, through a logger that is global to the process.
	hooks.DisableHook(harness.DefaultRemoteLoggingHook)
	pool, err := extworker.StartLoopback(ctx, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening a port for the workers: %w", err)
	}
	stop = func() { _ = pool.Stop(ctx) }
	if env, err = graphx.CreateEnvironment(ctx, graphx.URNEnvExternal, pool.EnvironmentConfig); err != nil {
		stop()
		return nil, nil, err
	}
	env.Dependencies = nil // the program is where the workers are: there is none to stage
	return env, stop, nil
}

// inProcess is this process's Prism.
var inProcess = sync.OnceValues(func() (*Server, error) {
	client, err := prism.CreateJobServer(context.Background(), prism.Options{})
	if err != nil {
		return nil, fmt.Errorf("starting Prism: %w", err)
	}
	return &Server{name: "Prism", client: client}, nil
})

// Prism runs a pipeline on Prism, in this process, and waits for its end. It is not to be cancelled: Prism panics where a job is
// cancelled while its worker starts. Beam must have been initialised.
func Prism(ctx context.Context, p *beam.Pipeline, name string) error {
	edges, _, err := p.Build()
	if err != nil {
		return err
	}
	server, err := inProcess()
	if err != nil {
		return err
	}
	env, stop, err := Loopback(ctx)
	if err != nil {
		return err
	}
	defer stop()
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return err
	}
	job, err := server.Submit(ctx, pipeline, name)
	if err != nil {
		return err
	}
	return job.Wait(ctx)
}
