// Package jobs runs pipelines on servers of Beam's job API: Prism in this process ([Prism]), and the job servers of other engines ([Dial]).
// Nothing is staged: workers are this process itself ([Loopback]), or programs that lie where they run. So no file is made for a job;
// Beam's own client (runners/universal) leaves one in the folder for temporary files for each.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/metricsx"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// dialTime is how long a job server may take to answer.
const dialTime = 15 * time.Second

// Server is a connection to a job server.
type Server struct {
	name   string
	client jobpb.JobServiceClient
	close  func() error

	target        string // of an own server: HOST:PORT
	stagesNothing bool   // it waits for no end of a job's artifacts
}

// Dial connects to the job server at endpoint, HOST:PORT. The error says that none answers.
func Dial(ctx context.Context, endpoint string) (*Server, error) {
	cc, err := grpcx.Dial(ctx, endpoint, dialTime)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("no job server answers at %s within %v: see that it is up, or name another with --endpoint",
			endpoint, dialTime)
	}
	return &Server{name: "the job server " + endpoint, client: jobpb.NewJobServiceClient(cc), close: cc.Close}, nil
}

// Close ends the connection.
func (s *Server) Close() error { return s.close() }

// Job is a job on a server.
type Job struct {
	id     string
	server *Server
}

// Submit starts a pipeline as a job of the given name.
func (s *Server) Submit(ctx context.Context, pipeline *pipepb.Pipeline, name string) (*Job, error) {
	options := &runnerlib.JobOptions{Name: name, Loopback: true, Parallelism: runtime.GOMAXPROCS(0)}
	prepared, artifacts, token, err := runnerlib.Prepare(ctx, named{s.client}, pipeline, options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if !s.stagesNothing { // there are no artifacts, but a server may wait for their session to end
		if token, err = runnerlib.Stage(ctx, prepared, artifacts, "", token); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	id, err := runnerlib.Submit(ctx, s.client, prepared, token)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return &Job{id: id, server: s}, nil
}

// named is a client that also names a job in its options: Java's job servers, which name it after the application, make a 0 of every
// character of that but letters and digits.
type named struct{ jobpb.JobServiceClient }

// Prepare implements jobpb.JobServiceClient.
func (c named) Prepare(ctx context.Context, r *jobpb.PrepareJobRequest, o ...grpc.CallOption) (*jobpb.PrepareJobResponse, error) {
	r.PipelineOptions.Fields["beam:option:job_name:v1"] = structpb.NewStringValue(r.JobName)
	return c.JobServiceClient.Prepare(ctx, r, o...)
}

// Metrics are the user metrics of a pipeline's job, by the name of the step and their own, as the engine knows them now.
func (j *Job) Metrics(ctx context.Context, pipeline *pipepb.Pipeline) (*metrics.Results, error) {
	r, err := j.server.client.GetJobMetrics(ctx, &jobpb.GetJobMetricsRequest{JobId: j.id})
	if err != nil {
		return nil, fmt.Errorf("%s: the metrics of job %s: %w", j.server.name, j.id, err)
	}
	for _, infos := range [][]*pipepb.MonitoringInfo{r.GetMetrics().GetAttempted(), r.GetMetrics().GetCommitted()} {
		for _, m := range infos {
			if t := pipeline.GetComponents().GetTransforms()[m.GetLabels()["PTRANSFORM"]]; t != nil {
				m.Labels["PTRANSFORM"] = t.GetUniqueName()
			}
		}
	}
	return metricsx.FromMonitoringInfos(pipeline, r.GetMetrics().GetAttempted(), r.GetMetrics().GetCommitted()), nil
}

// Wait follows a job to its end. The error of a failed one is the last that the server told.
func (j *Job) Wait(ctx context.Context) error {
	stream, err := j.server.client.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: j.id})
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
				return fmt.Errorf("the job %s was cancelled on %s", j.id, j.server.name)
			case jobpb.JobState_FAILED:
				if failed = true; told != "" {
					return j.failure(told)
				}
			}
		}
	}
}

func (j *Job) failure(told string) error {
	if told == "" {
		told = "the job server gave no reason: see its log"
	}
	return fmt.Errorf("the job %s failed: %s", j.id, told)
}

func (j *Job) lost(err error) error {
	return fmt.Errorf("%s was lost while a job ran: %w", j.server.name, err)
}

// Cancel asks the server to end the job. That it could not is of no use to anyone: who asks is about to end.
func (j *Job) Cancel(ctx context.Context) {
	_, _ = j.server.client.Cancel(ctx, &jobpb.CancelJobRequest{JobId: j.id})
}

// EndOthers cancels the jobs of the same run, whose names end in "-" and run, that a driver which was killed has left on the server: they
// would go on beside a new one.
func (s *Server) EndOthers(ctx context.Context, run string) error {
	if run == "" {
		return nil
	}
	jobs, err := s.client.GetJobs(ctx, &jobpb.GetJobsRequest{})
	if status.Code(err) == codes.Unimplemented {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	for _, other := range jobs.GetJobInfo() {
		switch other.GetState() {
		case jobpb.JobState_STARTING, jobpb.JobState_RUNNING, jobpb.JobState_STOPPED:
		default:
			continue
		}
		if strings.HasSuffix(other.GetJobName(), "-"+run) {
			if _, err := s.client.Cancel(ctx, &jobpb.CancelJobRequest{JobId: other.GetJobId()}); err != nil {
				return fmt.Errorf("%s: cancelling the job %s, which an earlier driver of this run left: %w", s.name, other.GetJobId(), err)
			}
			s.awaitEnd(ctx, other.GetJobId())
		}
	}
	return nil
}

// endTime is how long a job that was cancelled may take to end.
const endTime = 10 * time.Second

// awaitEnd waits for the end of a job that was cancelled, but not for ever: where an engine does not end it, the run goes on beside it, as
// it would with a server that does not list its jobs.
func (s *Server) awaitEnd(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	for {
		st, err := s.client.GetState(ctx, &jobpb.GetJobStateRequest{JobId: id})
		if err != nil {
			return
		}
		switch st.GetState() {
		case jobpb.JobState_STARTING, jobpb.JobState_RUNNING, jobpb.JobState_STOPPED, jobpb.JobState_CANCELLING:
		default:
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}
