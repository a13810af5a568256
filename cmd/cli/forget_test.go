package cli

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/adaptflow/adaptflow/pipelines/kinds"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/recipe"
)

// leftJobs is a job server that has jobs of drivers which were lost, and takes no new one. A job that is cancelled ends a little later.
type leftJobs struct {
	jobpb.UnimplementedJobServiceServer
	names map[string]string // by id
	see   func()            // called when a job is cancelled

	mu                 sync.Mutex
	cancelled, running []string // running: what ran when a new job was to begin
	states             map[string]jobpb.JobState_Enum
}

func (s *leftJobs) GetJobs(context.Context, *jobpb.GetJobsRequest) (*jobpb.GetJobsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &jobpb.GetJobsResponse{}
	for id, name := range s.names {
		out.JobInfo = append(out.JobInfo, &jobpb.JobInfo{JobId: id, JobName: name, State: s.states[id]})
	}
	return out, nil
}

func (s *leftJobs) Cancel(_ context.Context, r *jobpb.CancelJobRequest) (*jobpb.CancelJobResponse, error) {
	s.see()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelled, s.states[r.JobId] = append(s.cancelled, r.JobId), jobpb.JobState_CANCELLING
	time.AfterFunc(300*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.states[r.JobId] = jobpb.JobState_CANCELLED
	})
	return &jobpb.CancelJobResponse{State: s.states[r.JobId]}, nil
}

func (s *leftJobs) GetState(_ context.Context, r *jobpb.GetJobStateRequest) (*jobpb.JobStateEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &jobpb.JobStateEvent{State: s.states[r.JobId]}, nil
}

func (s *leftJobs) Prepare(context.Context, *jobpb.PrepareJobRequest) (*jobpb.PrepareJobResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.states {
		if st == jobpb.JobState_RUNNING || st == jobpb.JobState_CANCELLING {
			s.running = append(s.running, id)
		}
	}
	return nil, status.Error(codes.ResourceExhausted, "no room for jobs")
}

// TestLostDriversJobsEnd: what a driver that was lost left of a run by key on the job server is cancelled, and has ended, before a plain
// run or forget begin a job of their own; forget does so before it notes what is forgotten. Other runs' jobs go on.
func TestLostDriversJobsEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	b := &desk{t, t.TempDir()}
	out := b.path("out")
	in, err := filepath.Abs("testdata/resumed/in")
	if err != nil {
		t.Fatal(err)
	}
	plain := append([]string{"run", "personal-assistants", "--output", out}, set("model="+filepath.Join(in, "base"),
		"input="+filepath.Join(in, "rows.jsonl"), "data.key_column=user", "sequence_length=64", "rank=1", "steps=2",
		"keys.min_sequences=1")...)
	if text, err := adaptflow(plain...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	id, err := run.ID(out)
	if err != nil {
		t.Fatal(err)
	}
	forgotten := filepath.Join(out, kinds.ForgetFile)
	for _, c := range []struct {
		name string
		args []string
	}{{"forget", []string{"forget", "--output", out, "--doc", "rows.jsonl#0"}}, {"run", plain}} {
		early := true
		s := &leftJobs{names: map[string]string{"ours": "adaptflow-out-keys-" + id, "ended": "adaptflow-out-ingest-" + id,
			"theirs": "adaptflow-out-keys-r000000000000"},
			states: map[string]jobpb.JobState_Enum{"ours": jobpb.JobState_RUNNING, "ended": jobpb.JobState_DONE,
				"theirs": jobpb.JobState_RUNNING},
			see: func() {
				_, err := os.Stat(forgotten)
				early = early && os.IsNotExist(err)
			}}
		l, err := net.Listen("tcp", "localhost:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer()
		jobpb.RegisterJobServiceServer(server, s)
		go server.Serve(l)
		text, err := adaptflow(append(c.args, "--runner", "universal", "--endpoint", l.Addr().String())...).CombinedOutput()
		server.Stop()
		if err == nil || !strings.Contains(string(text), "no room for jobs") {
			t.Fatalf("%s: %v: %s", c.name, err, text)
		}
		if !slices.Equal(s.cancelled, []string{"ours"}) || !slices.Equal(s.running, []string{"theirs"}) {
			t.Errorf("%s: cancelled %v; %v ran when its job was to begin", c.name, s.cancelled, s.running)
		}
		if c.name == "forget" && !early {
			t.Error("what is forgotten was noted while the lost driver's job ran")
		}
	}
	// What forget began goes on by the plain command, here in this process.
	if text, err := adaptflow(plain...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if keys, unknown, err := kinds.Of(forgetting(t, out)).Forgets.Affected(out, []string{"rows.jsonl#0"}); err != nil || len(keys) > 0 ||
		len(unknown) != 1 {
		t.Errorf("%v were trained on what was forgotten (%v)", keys, err)
	}
}

// forgetting is the recipe of an output folder.
func forgetting(t *testing.T, out string) *recipe.Recipe {
	t.Helper()
	path := filepath.Join(out, run.RecipeFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := recipe.Parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := recipe.Resolve(l)
	if err != nil {
		t.Fatal(err)
	}
	return rec
}
