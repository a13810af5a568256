package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	core "github.com/adaptflow/adaptflow/train"
)

// dialTime is how long a job server may take to answer.
const dialTime = 15 * time.Second

// remote executes a pipeline on a job server.
func remote(ctx context.Context, runner Runner, p *beam.Pipeline, name string) error {
	edges, _, err := p.Build()
	if err != nil {
		return err
	}
	// An interrupt must not cut the workers' connections: what they have done is saved first.
	lasting := context.WithoutCancel(ctx)
	env, stop, err := environment(lasting, runner)
	if err != nil {
		return err
	}
	defer stop()
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return err
	}
	if runner.Job != "" {
		name += "-" + runner.Job
	}
	job, err := submit(ctx, runner, pipeline, name)
	if err != nil {
		return err
	}
	defer job.close()
	done := make(chan error, 1)
	go func() { done <- job.wait(lasting) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	core.Interrupt(true)
	defer core.Interrupt(false)
	stopped, cancel := context.WithTimeout(lasting, patience)
	defer cancel()
	select { // training stops by itself at its next step; what does not is cancelled
	case <-done:
		return ctx.Err()
	case <-time.After(patience / 2):
	}
	job.cancel(stopped)
	select {
	case <-done:
	case <-stopped.Done():
	}
	return ctx.Err()
}

// serverJob is a job on a job server.
type serverJob struct {
	endpoint, id string
	client       jobpb.JobServiceClient
	close        func()
}

func submit(ctx context.Context, runner Runner, pipeline *pipepb.Pipeline, name string) (_ *serverJob, err error) {
	endpoint := runner.Endpoint
	cc, err := grpcx.Dial(ctx, endpoint, dialTime)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("no job server answers at %s within %v: see that it is up, or name another with --endpoint", endpoint, dialTime)
	}
	j := &serverJob{endpoint: endpoint, client: jobpb.NewJobServiceClient(cc), close: func() { cc.Close() }}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	if err := j.endOthers(ctx, runner.Job); err != nil {
		return nil, fmt.Errorf("job server %s: %w", endpoint, err)
	}
	prepared, artifacts, token, err := runnerlib.Prepare(ctx, j.client, pipeline, &runnerlib.JobOptions{Name: name, Loopback: true, Parallelism: runtime.GOMAXPROCS(0)})
	if err != nil {
		return nil, fmt.Errorf("job server %s: %w", endpoint, err)
	}
	// There are no artifacts, but the server waits for their session to end.
	if token, err = runnerlib.Stage(ctx, prepared, artifacts, "", token); err != nil {
		return nil, fmt.Errorf("job server %s: %w", endpoint, err)
	}
	if j.id, err = runnerlib.Submit(ctx, j.client, prepared, token); err != nil {
		return nil, fmt.Errorf("job server %s: %w", endpoint, err)
	}
	return j, nil
}

// wait follows a job to its end. The error of a failed one is the last that the server told.
func (j *serverJob) wait(ctx context.Context) error {
	stream, err := j.client.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: j.id})
	if err != nil {
		return j.lost(err)
	}
	var told string
	failed := false
	for {
		m, err := stream.Recv()
		switch {
		case err == io.EOF && failed:
			return j.failure(told)
		case err == io.EOF:
			return errors.New("the job server closed the job's messages before the job ended")
		case err != nil && failed:
			return j.failure(told)
		case err != nil:
			return j.lost(err)
		}
		if text := m.GetMessageResponse(); text != nil && text.GetImportance() >= jobpb.JobMessage_JOB_MESSAGE_ERROR {
			if told = text.GetMessageText(); failed {
				return j.failure(told)
			}
		}
		if s := m.GetStateResponse(); s != nil {
			switch s.GetState() {
			case jobpb.JobState_DONE:
				return nil
			case jobpb.JobState_CANCELLED:
				return fmt.Errorf("the job %s was cancelled on the job server %s", j.id, j.endpoint)
			case jobpb.JobState_FAILED:
				if failed = true; told != "" {
					return j.failure(told)
				}
			}
		}
	}
}

func (j *serverJob) failure(told string) error {
	if told == "" {
		told = "the job server gave no reason: see its log"
	}
	return fmt.Errorf("the job %s failed: %s", j.id, told)
}

func (j *serverJob) lost(err error) error {
	return fmt.Errorf("the job server %s was lost while a job ran: %w", j.endpoint, err)
}

// cancel asks the server to end the job. That it could not is of no use to anyone: the process is about to end.
func (j *serverJob) cancel(ctx context.Context) {
	_, _ = j.client.Cancel(ctx, &jobpb.CancelJobRequest{JobId: j.id})
}

// endOthers cancels the jobs of this run that a driver which was killed has left on the server: they would go on beside this one.
func (j *serverJob) endOthers(ctx context.Context, run string) error {
	if run == "" {
		return nil
	}
	jobs, err := j.client.GetJobs(ctx, &jobpb.GetJobsRequest{})
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	if err != nil {
		return err
	}
	for _, other := range jobs.GetJobInfo() {
		switch other.GetState() {
		case jobpb.JobState_STARTING, jobpb.JobState_RUNNING, jobpb.JobState_STOPPED:
		default:
			continue
		}
		if strings.HasSuffix(other.GetJobName(), "-"+run) {
			if _, err := j.client.Cancel(ctx, &jobpb.CancelJobRequest{JobId: other.GetJobId()}); err != nil {
				return fmt.Errorf("cancelling the job %s, which an earlier driver of this run left: %w", other.GetJobId(), err)
			}
		}
	}
	return nil
}
