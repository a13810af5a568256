package runners

import (
	"context"
	"encoding/json"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// environment is what a pipeline's DoFns run in, and what is to be called when the pipeline has ended.
//
// loopback: the server sends its bundles back to this process, where the base model is loaded already, so that nothing is staged.
// process: each task manager starts this program, which has the environment [workerEnv] and becomes a worker (see [Worker]).
func environment(ctx context.Context, runner Runner) (env *pipepb.Environment, stop func(), err error) {
	if !runner.Remote() {
		return jobs.Loopback(ctx)
	}
	hooks.EnableHook(harness.DefaultRemoteLoggingHook) //nolint:errcheck // it is registered
	vars, done, err := workerEnv(os.Environ(), runner)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			done()
		}
	}()
	config, err := json.Marshal(map[string]any{"command": runner.Program, "env": vars})
	if err != nil {
		return nil, nil, err
	}
	env, err = graphx.CreateEnvironment(ctx, graphx.URNEnvProcess, func(context.Context) string { return string(config) })
	if err != nil {
		return nil, nil, err
	}
	env.Dependencies = nil // the program is where the workers are: there is none to stage
	return env, done, nil
}
