package runners

import (
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// NewPipeline returns an empty pipeline.
func NewPipeline() (*beam.Pipeline, beam.Scope) {
	return beam.NewPipelineWithRoot()
}

// Run executes a pipeline and waits for its end. The program has called beam.Init.
func (r Runner) Run(ctx context.Context, p *beam.Pipeline, name string) error {
	if !beam.Initialized() {
		return jobs.ErrNotInitialised
	}
	var err error
	switch {
	case r.InProcess():
		err = inProcess(ctx, p, name)
	case r.Name == "dataflow":
		if err = r.Dataflow.run(ctx, p, r.jobName(name)); errors.Is(err, ErrDryRun) {
			return err
		}
	default:
		err = remote(ctx, r, p, name)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &JobError{Job: name, Err: cause(err)}
}

// JobError is the error of a job: what failed in it, without the engine's account of where.
type JobError struct {
	Job string // the stage
	Err error
}

// Error implements error.
func (e *JobError) Error() string { return e.Job + ": " + e.Err.Error() }

// Unwrap is what failed.
func (e *JobError) Unwrap() error { return e.Err }

// jobName is the name by which people find the job of a stage among an engine's: adaptflow, the run's folder, the stage, and the run, by
// which the job server is asked for what an earlier driver left. It has lower-case letters, digits and hyphens, as Dataflow wants it.
func (r Runner) jobName(stage string) string {
	name := "adaptflow"
	title := r.Title
	if title == "" && r.Folder != "" {
		title = filepath.Base(r.Folder)
	}
	if title != "" {
		folder := strings.Trim(notInJobName.ReplaceAllString(strings.ToLower(title), "-"), "-")
		name += "-" + strings.Trim(folder[:min(len(folder), 32)], "-")
	}
	name += "-" + strings.Trim(notInJobName.ReplaceAllString(strings.ToLower(strings.TrimPrefix(stage, "adaptflow-")), "-"), "-")
	for _, s := range []string{r.Part, r.Job} {
		if s != "" {
			name += "-" + s
		}
	}
	return name
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
	select {
	case <-done:
	case <-time.After(patience):
	}
	return ctx.Err()
}

// patience is how long an interrupted pipeline may take to end.
const patience = 10 * time.Second

var (
	doFnCause = regexp.MustCompile(`(?s)caused by:\s*(.*)$`)
	doFnName  = regexp.MustCompile(`^DoFn\[[^\]]*\] failed:\s*`)
)

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
	text = doFnName.ReplaceAllString(strings.TrimSpace(text), "")
	if i := strings.Index(text, "\nFull error:"); i >= 0 {
		text = strings.TrimSpace(text[:i])
	}
	if text == "" {
		return err
	}
	return errors.New(text)
}
