// Package runners is where Beam runs: Prism in this process, a job server (Flink, Spark or another), Dataflow; and the program as a worker
// of one.
package runners

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/pipelines/runners/jobserver"
)

// Names are the names that --runner may have: prism, in this process; flink and spark, job servers that adaptflow brings up or that
// are named by their endpoint; universal, any other job server, by its endpoint; dataflow, Google Cloud Dataflow.
var Names = []string{"prism", "flink", "spark", "universal", "dataflow"}

// Environments are the places where a job server's workers may run: loopback, in the driver's process; process, in processes that the
// engine's task managers start, of a program that lies on their machines.
var Environments = []string{"loopback", "process"}

// Runner says where pipelines run. The zero value is Prism, in this process.
type Runner struct {
	Name        string // one of Names; empty for prism
	Endpoint    string // of the job server, HOST:PORT
	Environment string // one of Environments; empty for loopback
	// of the environment process: the path of adaptflow on the task managers' machines; empty for that of this process
	Program  string
	Env      []string  // of the environment process: variables that workers get beside what they need, NAME or NAME=VALUE
	Dataflow *Dataflow // settings of dataflow
	Job      string    // part of the jobs' names by which jobs that a killed driver left on the server are known

	Schemes []string // of the run's locations, as [Schemes] finds them
	Folder  string   // of the run, absolute
	Title   string   // of the run, for its jobs' names; empty for its folder's name
	Afar    bool     // workers share the run's work location alone, and no folder of this machine
	Part    string   // of the run that a pipeline works for, such as a set of input, for its jobs' names; empty for all
}

// InProcess says whether pipelines run on Prism.
func (r Runner) InProcess() bool { return r.Name == "" || r.Name == "prism" }

// Remote says whether DoFns run in other processes, whose progress the driver sees by the files they write.
func (r Runner) Remote() bool {
	return r.Name == "dataflow" || !r.InProcess() && r.Environment == "process"
}

// Dry says whether jobs are written and not run: nothing but this machine's files is asked then.
func (r Runner) Dry() bool {
	return r.Name == "dataflow" && r.Dataflow != nil && r.Dataflow.DryRun != nil
}

// Resolve checks a runner, and finds its endpoint where none is given: that of the job server which adaptflow brought up on this machine.
func (r Runner) Resolve() (Runner, error) {
	switch {
	case r.Name == "":
		r.Name = "prism"
	case !slices.Contains(Names, r.Name):
		return r, fmt.Errorf("unknown runner %q; the runners are %s", r.Name, strings.Join(Names, ", "))
	}
	if r.Environment != "" && !slices.Contains(Environments, r.Environment) {
		return r, fmt.Errorf("unknown environment %q; the environments are %s", r.Environment, strings.Join(Environments, ", "))
	}
	if r.Program != "" && r.Environment != "process" {
		return r, errors.New("--worker-program names what task managers start: it goes with --environment process")
	}
	if len(r.Env) > 0 && r.Environment != "process" {
		return r, errors.New("--worker-env is for workers in processes of their own: it goes with --environment process")
	}
	if err := (childenv.Set{More: r.Env}).Check(); err != nil {
		return r, fmt.Errorf("--worker-env: %w", err)
	}
	if r.Name == "dataflow" {
		if r.Endpoint != "" || r.Program != "" || r.Environment == "process" {
			return r, errors.New("--endpoint, --environment and --worker-program are a job server's: --runner dataflow has --project, " +
				"--region, --image and others")
		}
		if r.Dataflow == nil {
			r.Dataflow = &Dataflow{}
		}
		return r, r.Dataflow.check()
	}
	switch {
	case r.InProcess() && r.Endpoint != "":
		return r, errors.New("--endpoint names a job server: it goes with --runner flink, spark or universal")
	case r.Remote() && r.Program == "":
		self, err := os.Executable()
		if err != nil {
			return r, fmt.Errorf("finding this program for the workers: %w; name it with --worker-program", err)
		}
		r.Program = self
	case r.InProcess() && r.Environment == "process":
		return r, errors.New("--environment process is a job server's: it goes with --runner flink, spark or universal")
	}
	if r.InProcess() {
		return r, nil
	}
	if r.Endpoint != "" {
		if _, _, err := net.SplitHostPort(r.Endpoint); err != nil {
			return r, fmt.Errorf("--endpoint %q: want HOST:PORT: %w", r.Endpoint, err)
		}
		return r, nil
	}
	e, ok := jobserver.Find(r.Name)
	if !ok {
		return r, fmt.Errorf("--runner %s needs the job server's --endpoint HOST:PORT", r.Name)
	}
	st, err := jobserver.Status(e, "")
	if err != nil {
		return r, fmt.Errorf("%w, or name one with --endpoint HOST:PORT", err)
	}
	r.Endpoint = st.Endpoint
	return r, nil
}
