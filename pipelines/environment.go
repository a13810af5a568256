package pipelines

import (
	"context"
	"encoding/json"
	"os"
	"strings"

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
	if !runner.remote() {
		return jobs.Loopback(ctx)
	}
	hooks.EnableHook(harness.DefaultRemoteLoggingHook) //nolint:errcheck // it is registered
	vars, err := workerEnv(os.Environ())
	if err != nil {
		return nil, nil, err
	}
	config, err := json.Marshal(map[string]any{"command": runner.Program, "env": vars})
	if err != nil {
		return nil, nil, err
	}
	env, err = graphx.CreateEnvironment(ctx, graphx.URNEnvProcess, func(context.Context) string { return string(config) })
	if err != nil {
		return nil, nil, err
	}
	env.Dependencies = nil // the program is where the workers are: there is none to stage
	return env, func() {}, nil
}

// workerDir is the variable that tells a worker the driver's folder, to which relative references belong.
const workerDir = "ADAPTFLOW_WORKER_DIR"

// workerEnv is the environment of worker processes, beside that of the task managers which start them: adaptflow's own variables and the
// Go runtime's limits as the driver has them, and the driver's folder.
func workerEnv(environ []string) (map[string]string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "ADAPTFLOW_") || name == "GOMEMLIMIT" || name == "GOGC" || name == "GOMAXPROCS" {
			out[name] = value
		}
	}
	out[workerDir] = dir
	return out, nil
}
