package jobs_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/adaptflow/adaptflow/transforms/jobs"
)

func init() { beam.RegisterFunction(count) }

var counted atomic.Int64

func count([]byte) { counted.Add(1) }

func TestMain(m *testing.M) {
	beam.Init()
	os.Exit(m.Run())
}

func pipeline() *beam.Pipeline {
	p, s := beam.NewPipelineWithRoot()
	beam.ParDo0(s, count, beam.Impulse(s))
	return p
}

// runs runs a job of ours.
func runs(t *testing.T) {
	t.Helper()
	before := counted.Load()
	if err := jobs.Prism(context.Background(), pipeline(), "ours"); err != nil {
		t.Fatal(err)
	}
	if counted.Load() != before+1 {
		t.Fatalf("the DoFn ran %d times", counted.Load()-before)
	}
}

// prismAt is where this process's Prism listens.
func prismAt(t *testing.T) string {
	t.Helper()
	runs(t)
	return jobs.PrismAt()
}

func connect(t *testing.T, at string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return cc
}

// TestStrangersRunNothing sends what any client of Beam could: a job whose worker is a program.
func TestStrangersRunNothing(t *testing.T) {
	client := jobpb.NewJobServiceClient(connect(t, prismAt(t)))
	dir := t.TempDir()
	mark, program := filepath.Join(dir, "mark"), filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte(fmt.Sprintf("#!/bin/sh\ntouch %s\n", mark)), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	config := fmt.Sprintf(`{"command": %q}`, program)
	env, err := graphx.CreateEnvironment(ctx, graphx.URNEnvProcess, func(context.Context) string { return config })
	if err != nil {
		t.Fatal(err)
	}
	edges, _, err := pipeline().Build()
	if err != nil {
		t.Fatal(err)
	}
	job, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		t.Fatal(err)
	}
	prepared, err := client.Prepare(ctx, &jobpb.PrepareJobRequest{Pipeline: job, JobName: "theirs", PipelineOptions: &structpb.Struct{}})
	if err == nil {
		if _, err := client.Run(ctx, &jobpb.RunJobRequest{PreparationId: prepared.GetPreparationId()}); err != nil {
			t.Error(err)
		}
		for range 50 {
			if _, err := os.Stat(mark); err == nil {
				t.Fatal("a stranger's job was taken, and its program ran")
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatal("a stranger's job was taken")
	}
	if !strings.Contains(err.Error(), "this job server takes jobs of its own process alone") {
		t.Errorf("refused with %v", err)
	}
	runs(t)
}

// other is the codec of protocol buffers under a name that no server knows; gRPC's servers take it for the one that they know.
type other struct{ encoding.CodecV2 }

func (other) Name() string { return "other" }

// TestJobsAtOnce runs jobs of ours beside each other.
func TestJobsAtOnce(t *testing.T) {
	before := counted.Load()
	ended := make(chan error)
	const n = 4
	for range n {
		go func() { ended <- jobs.Prism(context.Background(), pipeline(), "ours") }()
	}
	for range n {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := counted.Load() - before; got != n {
		t.Errorf("%d DoFns ran", got)
	}
}

// TestStrangersLearnNothing calls all that Prism's port serves. Some of it ends a Prism that takes it: jobs that it does not know are
// nil there.
func TestStrangersLearnNothing(t *testing.T) {
	cc := connect(t, prismAt(t))
	const alone = "takes jobs of its own process alone"
	job := jobpb.NewJobServiceClient(cc)
	artifacts, staging := jobpb.NewArtifactRetrievalServiceClient(cc), jobpb.NewArtifactStagingServiceClient(cc)
	received := func(_ any, err error) error { return err }
	for name, call := range map[string]func(ctx context.Context) error{
		"Run": func(ctx context.Context) error {
			return received(job.Run(ctx, &jobpb.RunJobRequest{PreparationId: "job-001"}))
		},
		"Run other": func(ctx context.Context) error {
			return received(job.Run(ctx, &jobpb.RunJobRequest{PreparationId: "no"}))
		},
		"GetJobs in another codec": func(ctx context.Context) error {
			return received(job.GetJobs(ctx, &jobpb.GetJobsRequest{}, grpc.ForceCodecV2(other{encoding.GetCodecV2("proto")})))
		},
		"GetJobs compressed": func(ctx context.Context) error {
			return received(job.GetJobs(ctx, &jobpb.GetJobsRequest{}, grpc.UseCompressor(gzip.Name)))
		},
		"GetJobs": func(ctx context.Context) error { return received(job.GetJobs(ctx, &jobpb.GetJobsRequest{})) },
		"GetState": func(ctx context.Context) error {
			return received(job.GetState(ctx, &jobpb.GetJobStateRequest{JobId: "job-001"}))
		},
		"GetPipeline": func(ctx context.Context) error {
			return received(job.GetPipeline(ctx, &jobpb.GetJobPipelineRequest{JobId: "job-001"}))
		},
		"GetJobMetrics": func(ctx context.Context) error {
			return received(job.GetJobMetrics(ctx, &jobpb.GetJobMetricsRequest{JobId: "job-001"}))
		},
		"Cancel": func(ctx context.Context) error {
			return received(job.Cancel(ctx, &jobpb.CancelJobRequest{JobId: "job-001"}))
		},
		"DescribePipelineOptions": func(ctx context.Context) error {
			return received(job.DescribePipelineOptions(ctx, &jobpb.DescribePipelineOptionsRequest{}))
		},
		"GetMessageStream": func(ctx context.Context) error {
			s, err := job.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: "job-001"})
			if err != nil {
				return err
			}
			return received(s.Recv())
		},
		"GetStateStream": func(ctx context.Context) error {
			s, err := job.GetStateStream(ctx, &jobpb.GetJobStateRequest{JobId: "job-001"})
			if err != nil {
				return err
			}
			return received(s.Recv())
		},
		"ResolveArtifacts": func(ctx context.Context) error {
			return received(artifacts.ResolveArtifacts(ctx, &jobpb.ResolveArtifactsRequest{}))
		},
		"GetArtifact": func(ctx context.Context) error {
			s, err := artifacts.GetArtifact(ctx, &jobpb.GetArtifactRequest{})
			if err != nil {
				return err
			}
			return received(s.Recv())
		},
		"ReverseArtifactRetrievalService": func(ctx context.Context) error {
			s, err := staging.ReverseArtifactRetrievalService(ctx)
			if err != nil {
				return err
			}
			if err := s.Send(&jobpb.ArtifactResponseWrapper{StagingToken: "no"}); err != nil {
				return err
			}
			return received(s.Recv())
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := call(ctx); err == nil || !strings.Contains(err.Error(), alone) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	runs(t)
}

// TestStrangersAreNoWorkers asks for the instructions and the data of a running job's worker by the name that Prism would give it.
func TestStrangersAreNoWorkers(t *testing.T) {
	cc := connect(t, prismAt(t))
	p, s := beam.NewPipelineWithRoot()
	beam.ParDo0(s, wait, beam.Impulse(s))
	ended := make(chan error)
	waiting, going = make(chan bool), make(chan bool)
	go func() { ended <- jobs.Prism(context.Background(), p, "ours") }()
	<-waiting
	for n := range 30 {
		ctx, cancel := context.WithTimeout(grpcx.WriteWorkerID(context.Background(), fmt.Sprintf("job-%03d[ours]_go", n)), 10*time.Second)
		control, err := fnpb.NewBeamFnControlClient(cc).Control(ctx)
		if err == nil {
			_, err = control.Recv()
		}
		if err == nil || !strings.Contains(err.Error(), "not registered in worker pool") {
			t.Errorf("a stranger's worker job-%03d[ours]_go: %v", n, err)
		}
		if _, err = fnpb.NewProvisionServiceClient(cc).GetProvisionInfo(ctx, &fnpb.GetProvisionInfoRequest{}); err == nil {
			t.Errorf("a stranger's worker job-%03d[ours]_go was provisioned", n)
		}
		cancel()
	}
	close(going)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func init() { beam.RegisterFunction(wait) }

var waiting, going chan bool

func wait([]byte) {
	close(waiting)
	<-going
}

// TestStrangersStartNoWorkers asks the pool of a running job for a worker that would take its work from elsewhere.
func TestStrangersStartNoWorkers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	env, stop, err := jobs.Loopback(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	var external pipepb.ExternalPayload
	if err := proto.Unmarshal(env.GetPayload(), &external); err != nil {
		t.Fatal(err)
	}
	// Whoever is dialled has a worker of his own.
	theirs, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	dialled := make(chan bool, 1)
	go func() {
		if c, err := theirs.Accept(); err == nil {
			dialled <- true
			c.Close()
		}
	}()
	at := &pipepb.ApiServiceDescriptor{Url: theirs.Addr().String()}
	pool := fnpb.NewBeamFnExternalWorkerPoolClient(connect(t, external.GetEndpoint().GetUrl()))
	start := func(params map[string]string) error {
		_, err := pool.StartWorker(ctx, &fnpb.StartWorkerRequest{WorkerId: "1", ControlEndpoint: at, LoggingEndpoint: at, Params: params})
		return err
	}
	for name, params := range map[string]map[string]string{"none": nil, "others": {"a": "b"}, "empty": {"adaptflow_secret": ""},
		"a guess": {"adaptflow_secret": "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}} {
		err := start(params)
		if err == nil || !strings.Contains(err.Error(), "for jobs of its own process alone") {
			t.Errorf("a worker with the parameters %s: %v", name, err)
		}
	}
	select {
	case <-dialled:
		t.Error("a stranger has a worker of this process")
	case <-time.After(300 * time.Millisecond):
	}
	// As a job server does with the environment's parameters.
	if err := start(external.GetParams()); err != nil {
		t.Error(err)
	}
	select {
	case <-dialled:
	case <-ctx.Done():
		t.Error("the worker of our own job did not start")
	}
}

// TestStrangersHoldNothingUp begins a call to a pool and never ends it.
func TestStrangersHoldNothingUp(t *testing.T) {
	env, stop, err := jobs.Loopback(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var external pipepb.ExternalPayload
	if err := proto.Unmarshal(env.GetPayload(), &external); err != nil {
		t.Fatal(err)
	}
	cc := connect(t, external.GetEndpoint().GetUrl())
	const method = "/org.apache.beam.model.fn_execution.v1.BeamFnExternalWorkerPool/StartWorker"
	begun, err := cc.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	// Another call is answered when the first is there.
	if _, err := fnpb.NewBeamFnExternalWorkerPoolClient(cc).StopWorker(t.Context(), &fnpb.StopWorkerRequest{WorkerId: "none"}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan bool)
	go func() {
		stop()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("the end of a job waits for a stranger")
	}
	_ = begun.CloseSend()
}
