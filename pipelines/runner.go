package pipelines

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism" // the default runner, in this process

	"github.com/adaptflow/adaptflow/internal/jobserver"
	core "github.com/adaptflow/adaptflow/train"
)

// Runners are the names that --runner may have: prism, in this process; flink and spark, job servers that adaptflow brings up or that
// are named by their endpoint; universal, any other job server, by its endpoint.
var Runners = []string{"prism", "flink", "spark", "universal"}

// ResolveRunner checks a runner's name, and finds its endpoint where none is given: that of the job server which adaptflow brought up on this
// machine. It returns NAME for Prism and NAME@HOST:PORT for others, as [Run] and [Train] take them.
func ResolveRunner(name, endpoint string) (string, error) {
	switch {
	case !slices.Contains(Runners, name):
		return "", fmt.Errorf("unknown runner %q; the runners are %s", name, strings.Join(Runners, ", "))
	case name == "prism" && endpoint != "":
		return "", errors.New("--endpoint names a job server: it goes with --runner flink, spark or universal")
	case name == "prism":
		return name, nil
	case endpoint != "":
		if _, _, err := net.SplitHostPort(endpoint); err != nil {
			return "", fmt.Errorf("--endpoint %q: want HOST:PORT: %w", endpoint, err)
		}
		return name + "@" + endpoint, nil
	}
	e, ok := jobserver.Find(name)
	if !ok {
		return "", fmt.Errorf("--runner %s needs the job server's --endpoint HOST:PORT", name)
	}
	st, err := jobserver.Status(e, "")
	if err != nil {
		return "", fmt.Errorf("%w, or name one with --endpoint HOST:PORT", err)
	}
	return name + "@" + st.Endpoint, nil
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
func run(ctx context.Context, runner string, p *beam.Pipeline, name string) error {
	begin()
	var err error
	switch kind, endpoint := splitRunner(runner); kind {
	case "", "prism":
		err = inProcess(ctx, p)
	default:
		err = remote(ctx, endpoint, p, name)
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
func inProcess(ctx context.Context, p *beam.Pipeline) error {
	done := make(chan error, 1)
	go func() {
		_, err := prism.Execute(context.WithoutCancel(ctx), p)
		done <- err
	}()
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
