package runners

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/internal/storage"
)

const (
	// workerDir is the variable that tells a worker the driver's folder, to which relative references belong.
	workerDir = "ADAPTFLOW_WORKER_DIR"
	// workerRun names the run's folder, which the worker must see.
	workerRun = "ADAPTFLOW_WORKER_RUN"
	// workerKept names a file of further variables: engines write what a job is started with to their logs, and show it to who asks.
	workerKept = "ADAPTFLOW_WORKER_ENV"
	// workerAfar tells a worker that it shares no folder with the driver.
	workerAfar = "ADAPTFLOW_WORKER_AFAR"
)

// workerEnv is the environment of worker processes, beside that of the task managers which start them: adaptflow's own variables and the
// Go runtime's limits as the driver has them, those that the run's locations need and that were asked for, and the driver's folders.
// What locations need are keys: they are given to no other machine, whose workers have their own. done removes what was written.
func workerEnv(environ []string, runner Runner) (env map[string]string, done func(), err error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, nil, err
	}
	set := childenv.Set{More: runner.Env}
	if hereabouts(runner.Endpoint) {
		set.Schemes = runner.Schemes
	}
	env, kept := set.Sent(environ)
	for _, name := range []string{workerDir, workerRun, workerKept, workerAfar} {
		delete(env, name)
	}
	done = func() {}
	if runner.Afar { // what names folders here is of no use there
		delete(env, "ADAPTFLOW_CACHE")
		env[workerAfar] = "1"
		asked := func(v string) bool { return v == "GOMEMLIMIT" || strings.HasPrefix(v, "GOMEMLIMIT=") }
		if !hereabouts(runner.Endpoint) && !slices.ContainsFunc(runner.Env, asked) { // another container has a limit of its own
			delete(env, "GOMEMLIMIT")
		}
	} else {
		env[workerDir] = dir
		if runner.Folder != "" {
			env[workerRun] = runner.Folder
		}
	}
	if len(kept) == 0 {
		return env, done, nil
	}
	raw, err := json.Marshal(kept)
	if err != nil {
		return nil, nil, err
	}
	// The name is one that storage.Sweep removes when the driver was killed; the file is its owner's alone.
	f, err := os.CreateTemp(runner.Folder, ".worker-env.tmp-*")
	if err != nil {
		return nil, nil, err
	}
	done = func() { os.Remove(f.Name()) }
	_, err = f.Write(raw)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	env[workerKept], err = filepath.Abs(f.Name())
	return env, done, err
}

// enter makes the driver's folder a worker's own, and sees that it is on the driver's machine or shares its folders.
func enter() error {
	if dir := os.Getenv(workerDir); dir != "" {
		if err := os.Chdir(dir); err != nil {
			return fmt.Errorf("the driver's folder is not on this machine: %w: workers need the same shared folders as the driver", err)
		}
	}
	if dir := os.Getenv(workerRun); dir != "" {
		if _, err := os.Stat(dir); err != nil {
			return fmt.Errorf("the run's folder is not on this machine: %w: workers on other machines need an --output on a volume that "+
				"they share with "+
				"the driver", err)
		}
	}
	path := os.Getenv(workerKept)
	if path == "" {
		return nil
	}
	raw, err := storage.ReadSmall(path, storage.KindState)
	if errors.Is(err, fs.ErrNotExist) && os.Getenv(workerAfar) != "" {
		return nil // the worker is on another machine, which has its own
	}
	if err != nil {
		return fmt.Errorf("the variables for workers: %w", err)
	}
	var kept map[string]string
	if err := json.Unmarshal(raw, &kept); err != nil {
		return fmt.Errorf("the variables for workers: %s: %w", path, err)
	}
	for name, value := range kept {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("the variable %s for workers: %w", name, err)
		}
	}
	return nil
}
