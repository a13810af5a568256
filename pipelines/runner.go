package pipelines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/internal/jobserver"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// Runners are the names that --runner may have: prism, in this process; flink and spark, job servers that adaptflow brings up or that
// are named by their endpoint; universal, any other job server, by its endpoint; dataflow, Google Cloud Dataflow.
var Runners = []string{"prism", "flink", "spark", "universal", "dataflow"}

// Environments are the places where a job server's workers may run: loopback, in the driver's process; process, in processes that the
// engine's task managers start, of a program that lies on their machines.
var Environments = []string{"loopback", "process"}

// Runner says where pipelines run. The zero value is Prism, in this process.
type Runner struct {
	Name        string    // one of Runners; empty for prism
	Endpoint    string    // of the job server, HOST:PORT
	Environment string    // one of Environments; empty for loopback
	Program     string    // of the environment process: the path of adaptflow on the task managers' machines; empty for that of this process
	Env         []string  // of the environment process: variables that workers get beside what they need, NAME or NAME=VALUE
	Dataflow    *Dataflow // settings of dataflow
	Job         string    // part of the jobs' names by which jobs that a killed driver left on the server are known; see [Run.Open]

	schemes []string // of the run's locations
	folder  string   // of the run, absolute
}

// inProcess says whether pipelines run on Prism.
func (r Runner) inProcess() bool { return r.Name == "" || r.Name == "prism" }

// remote says whether DoFns run in other processes, whose progress the driver sees by the files they write.
func (r Runner) remote() bool {
	return r.Name == "dataflow" || !r.inProcess() && r.Environment == "process"
}

// Resolve checks a runner, and finds its endpoint where none is given: that of the job server which adaptflow brought up on this machine.
func (r Runner) Resolve() (Runner, error) {
	switch {
	case r.Name == "":
		r.Name = "prism"
	case !slices.Contains(Runners, r.Name):
		return r, fmt.Errorf("unknown runner %q; the runners are %s", r.Name, strings.Join(Runners, ", "))
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
			return r, errors.New("--endpoint, --environment and --worker-program are a job server's: --runner dataflow has --project, --region, --image and others")
		}
		if r.Dataflow == nil {
			r.Dataflow = &Dataflow{}
		}
		return r, r.Dataflow.check()
	}
	switch {
	case r.inProcess() && r.Endpoint != "":
		return r, errors.New("--endpoint names a job server: it goes with --runner flink, spark or universal")
	case r.remote() && r.Program == "":
		self, err := os.Executable()
		if err != nil {
			return r, fmt.Errorf("finding this program for the workers: %w; name it with --worker-program", err)
		}
		r.Program = self
	case r.inProcess() && r.Environment == "process":
		return r, errors.New("--environment process is a job server's: it goes with --runner flink, spark or universal")
	}
	if r.inProcess() {
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

// begin initialises Beam once, and quietens the runner, whose every job would be several lines in the log.
var begin = sync.OnceFunc(func() {
	beam.Init()
	// What fails comes back as an error; the runner's own account of it would stand beside ours.
	slog.SetDefault(slog.New(slog.DiscardHandler))
})

// newPipeline returns an empty pipeline.
func newPipeline() (*beam.Pipeline, beam.Scope) {
	begin()
	return beam.NewPipelineWithRoot()
}

// run executes a pipeline and waits for its end.
func run(ctx context.Context, runner Runner, p *beam.Pipeline, name string) error {
	begin()
	var err error
	switch {
	case runner.inProcess():
		err = inProcess(ctx, p, name)
	case runner.Name == "dataflow":
		if err = runner.Dataflow.run(ctx, p, name+"-"+runner.Job); errors.Is(err, ErrDryRun) {
			return err
		}
	default:
		err = remote(ctx, runner, p, name)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%s: %w", name, cause(err))
}

// inProcess executes a pipeline on Prism. Prism panics where a job is cancelled while its worker starts, so that an interrupt is not
// passed on: training stops by itself at the next step, and other work is left to end with the process.
func inProcess(ctx context.Context, p *beam.Pipeline, name string) error {
	done := make(chan error, 1)
	go func() { done <- jobs.Prism(context.WithoutCancel(ctx), p, name) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	core.Interrupt(true)
	select {
	case <-done:
		core.Interrupt(false)
	case <-time.After(patience):
	}
	return ctx.Err()
}

// patience is how long an interrupted pipeline may take to end.
const patience = 10 * time.Second

var doFnCause = regexp.MustCompile(`(?s)caused by:\s*(.*)$`)

// cause cuts the runner's account of bundles and stages down to what failed inside the DoFn.
func cause(err error) error {
	text := err.Error()
	for {
		m := doFnCause.FindStringSubmatch(text)
		if m == nil {
			break
		}
		text = m[1]
	}
	text = strings.TrimSpace(text)
	if i := strings.Index(text, "\nFull error:"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	if text == "" {
		return err
	}
	return errors.New(text)
}
