package jobs

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"
	"google.golang.org/protobuf/proto"
)

// stopTime is how long the workers of a job that has ended may take to stop.
const stopTime = 5 * time.Second

// Loopback is an environment whose DoFns run in this process, which a server sends its bundles back to. The port of its pool is open to
// this machine, and starts workers for who knows the secret in the environment. stop is called when the job has ended.
func Loopback(ctx context.Context) (env *pipepb.Environment, stop func(), err error) {
	// Workers would send what Beam logs to the server, through a logger that is global to the process.
	hooks.DisableHook(harness.DefaultRemoteLoggingHook)
	pools.expect()
	pool, err := extworker.StartLoopback(ctx, 0)
	if err != nil {
		pools.remove("")
		return nil, nil, fmt.Errorf("opening a port for the workers: %w", err)
	}
	endpoint := pool.EnvironmentConfig(ctx)
	secret := pools.add(endpoint)
	stop = func() {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			_ = pool.Stop(ctx)
			pools.remove(endpoint)
		}()
		select { // it waits for all that called, and a stranger may never come to an end
		case <-stopped:
		case <-time.After(stopTime):
		}
	}
	if env, err = graphx.CreateEnvironment(ctx, graphx.URNEnvExternal, pool.EnvironmentConfig); err == nil {
		env.Payload, err = proto.Marshal(&pipepb.ExternalPayload{Endpoint: &pipepb.ApiServiceDescriptor{Url: endpoint},
			Params: map[string]string{secretParam: secret}})
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	env.Dependencies = nil // the program is where the workers are: there is none to stage
	return env, stop, nil
}

// hide gives the environments of a pipeline names that nobody can guess. Prism takes them into the ids of its workers, by which alone it
// knows who asks for bundles, data and state.
func hide(pipeline *pipepb.Pipeline) {
	c := pipeline.GetComponents()
	names := map[string]string{}
	hidden := map[string]*pipepb.Environment{}
	for id, e := range c.GetEnvironments() {
		names[id] = id + "-" + rand.Text()
		hidden[names[id]] = e
	}
	c.Environments = hidden
	for _, t := range c.GetTransforms() {
		if id, ok := names[t.GetEnvironmentId()]; ok {
			t.EnvironmentId = id
		}
	}
	for _, w := range c.GetWindowingStrategies() {
		if id, ok := names[w.GetEnvironmentId()]; ok {
			w.EnvironmentId = id
		}
	}
}
