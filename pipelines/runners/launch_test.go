package runners

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gcs "cloud.google.com/go/storage"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/proto"

	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/transforms/end"
)

// stage is a Dataflow whose staging location is a server of the test's.
func stage(t *testing.T) Dataflow {
	t.Helper()
	storagetest.StartGCS(t, "bucket")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	return Dataflow{Project: "p", Region: "europe-west4", StagingLocation: "gs://bucket/staging",
		Image: "registry/adaptflow:1", worker: program}
}

// written reads the one object whose name begins and ends so, by a client of the server that runs now.
func written(t *testing.T, prefix, suffix string) (raw []byte) {
	t.Helper()
	client, err := gcs.NewClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	found := 0
	for all := client.Bucket("bucket").Objects(t.Context(), &gcs.Query{Prefix: prefix}); ; {
		o, err := all.Next()
		if errors.Is(err, iterator.Done) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(o.Name, suffix) {
			continue
		}
		found++
		f, err := client.Bucket("bucket").Object(o.Name).NewReader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = io.ReadAll(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if found != 1 {
		t.Fatalf("there are %d objects %s…%s", found, prefix, suffix)
	}
	return raw
}

var launched = []string{"--template_location=gs://bucket/launches/1/job_object", "--project=p", "--region=europe-west4",
	"--runner=DataflowRunner", "--job_name=legal", "--staging_location=gs://bucket/staging", "--temp_location=gs://bucket/tmp",
	"--sdk_container_image=registry/adaptflow:1",
	"--worker_machine_type=c3-standard-8", "--service_account_email=worker@p", "--num_workers=2", "--max_num_workers=5",
	"--no_use_public_ips=true", "--labels={}", "--input=gs://bucket/a.jsonl,gs://bucket/c.jsonl", "--steps=20",
	"--rank=", "--output=gs://bucket/out"}

func TestParseLaunch(t *testing.T) {
	if IsLaunch([]string{"run", "domain-adaptation"}) || !IsLaunch(launched) || IsWorker(launched) {
		t.Error("a launch is not known")
	}
	l, err := ParseLaunch("domain-adaptation", []string{"input", "steps", "rank"}, launched)
	if err != nil {
		t.Fatal(err)
	}
	const want = "run domain-adaptation --runner=dataflow --log-format=json --project=p --region=europe-west4 " +
		"--staging-location=gs://bucket/staging --temp-location=gs://bucket/tmp --image=registry/adaptflow:1 " +
		"--machine-type=c3-standard-8 --service-account=worker@p --num-workers=2 " +
		"--max-num-workers=5 --no-public-ips --set=input=gs://bucket/a.jsonl,gs://bucket/c.jsonl --set=steps=20 --output=gs://bucket/out"
	if got := strings.Join(l.Args, " "); got != want || fmt.Sprint(l.Ignored) != "[labels]" {
		t.Errorf("%s\n%v", got, l.Ignored)
	}
	for text, args := range map[string][]string{
		"sdk_container_image": {"--template_location=gs://bucket/x", "--project=p", "--region=r", "--staging_location=gs://bucket",
			"--output=gs://bucket/o"},
		"--output gs://":      append(launched[:len(launched)-1:len(launched)-1], "--output=/tmp/out"),
		"not --NAME=VALUE":    append(launched[:1:1], "domain-adaptation"),
		"--template_location": append(launched[1:len(launched):len(launched)], "--template_location=/tmp/job"),
	} {
		_, err := ParseLaunch("domain-adaptation", []string{"input", "steps", "rank"}, args)
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("want %q: %v", text, err)
		}
	}
	if _, err := ParseLaunch("", nil, launched); err == nil || !strings.Contains(err.Error(), "ADAPTFLOW_TEMPLATE") {
		t.Errorf("an image without a template: %v", err)
	}
}

// TestLaunchLeavesAJob: where the launcher takes it, with one worker, whose only step drives the run.
func TestLaunchLeavesAJob(t *testing.T) {
	l, err := ParseLaunch("domain-adaptation", []string{"input", "steps", "rank"}, launched)
	if err != nil {
		t.Fatal(err)
	}
	l.Job.worker = stage(t).worker
	if err := l.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw := written(t, "launches/1/job_object", "")
	var job struct {
		Name        string `json:"name"`
		Environment struct {
			ServiceAccountEmail string `json:"serviceAccountEmail"`
			WorkerPools         []struct {
				NumWorkers  int64  `json:"numWorkers"`
				MachineType string `json:"machineType"`
				Image       string `json:"workerHarnessContainerImage"`
				IPs         string `json:"ipConfiguration"`
			} `json:"workerPools"`
		} `json:"environment"`
	}
	if err := json.Unmarshal(raw, &job); err != nil {
		t.Fatal(err)
	}
	pool := job.Environment.WorkerPools[0]
	if job.Name != "legal" || job.Environment.ServiceAccountEmail != "worker@p" || pool.NumWorkers != 1 ||
		pool.Image != "registry/adaptflow:1" || pool.MachineType != "c3-standard-8" || pool.IPs != "WORKER_IP_PRIVATE" {
		t.Errorf("%s", raw)
	}
	graph := written(t, "staging/legal-", "/model")
	var p pipepb.Pipeline
	if err := proto.Unmarshal(graph, &p); err != nil {
		t.Fatal(err)
	}
	drives := 0
	for _, x := range p.GetComponents().GetTransforms() {
		if strings.HasPrefix(x.GetUniqueName(), "drive/") && len(x.GetSubtransforms()) == 0 {
			drives++
		}
	}
	if drives != 1 {
		t.Errorf("%d steps drive", drives)
	}
}

func TestTheStepThatDrives(t *testing.T) {
	f := &driveFn{}
	if err := f.ProcessElement(t.Context(), `["-test.run=^$"]`); err != nil { // this program is the test
		t.Error(err)
	}
	if err := f.ProcessElement(t.Context(), `["-test.no-such-flag"]`); err == nil || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("a driver that fails: %v", err)
	}
}

// service answers as Dataflow's API does, as far as a job is submitted, looked at and cancelled there.
type service struct {
	sync.Mutex
	jobs   []map[string]any
	states []string // of the job, one a look; the last stays
	asked  string   // the state that was asked for
	taken  bool     // a job of the name is running
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Lock()
	defer s.Unlock()
	const jobs = "/v1b3/projects/p/locations/europe-west4/jobs"
	answer := func(v any) { json.NewEncoder(w).Encode(v) }
	raw, _ := io.ReadAll(r.Body)
	switch path := r.URL.Path; {
	case path == "/token":
		w.Header().Set("Content-Type", "application/json")
		answer(map[string]any{"access_token": "t", "token_type": "Bearer", "expires_in": 3600})
	case path == jobs && r.Method == http.MethodPost && s.taken:
		w.WriteHeader(http.StatusConflict)
		answer(map[string]any{"error": map[string]any{"code": 409, "message": "exists"}})
	case path == jobs && r.Method == http.MethodPost:
		var j map[string]any
		json.Unmarshal(raw, &j)
		s.jobs = append(s.jobs, j)
		answer(map[string]any{"id": "job-1"})
	case path == jobs:
		answer(map[string]any{"jobs": []any{map[string]any{"id": "job-1", "name": "adaptflow-ingest"}}})
	case path == jobs+"/job-1" && r.Method == http.MethodPut:
		var j struct{ RequestedState string }
		json.Unmarshal(raw, &j)
		s.asked = j.RequestedState
		answer(j)
	case path == jobs+"/job-1":
		answer(map[string]any{"id": "job-1", "currentState": s.states[0]})
		if len(s.states) > 1 {
			s.states = s.states[1:]
		}
	case path == jobs+"/job-1/messages":
		answer(map[string]any{"jobMessages": []any{map[string]any{"messageText": "the workers have no disk"}}})
	default:
		http.Error(w, "not there", http.StatusNotFound)
	}
}

// TestSubmit goes through the service's door: what is staged, what is submitted, and how a job's end is reported.
func TestSubmit(t *testing.T) {
	for _, c := range []struct {
		name   string
		states []string
		taken  bool
		err    string
	}{
		{"done", []string{"JOB_STATE_PENDING", "JOB_STATE_RUNNING", "JOB_STATE_DONE"}, false, ""},
		{"one that a driver before it submitted", []string{"JOB_STATE_RUNNING", "JOB_STATE_DONE"}, true, ""},
		{"failed", []string{"JOB_STATE_RUNNING", "JOB_STATE_FAILED"}, false, "the job job-1 ended as failed: the workers have no disk"},
		{"cancelled there", []string{"JOB_STATE_CANCELLED"}, false, "ended as cancelled"},
		{"interrupted", []string{"JOB_STATE_RUNNING"}, false, context.Canceled.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := stage(t)
			s := &service{states: c.states, taken: c.taken}
			api := httptest.NewServer(s)
			t.Cleanup(api.Close)
			key := filepath.Join(t.TempDir(), "key.json")
			if err := os.WriteFile(key, []byte(`{"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r", `+
				`"token_uri": "`+api.URL+`/token"}`), 0o600); err != nil {
				t.Fatal(err)
			}
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", key)
			d.api, d.every = api.URL+"/", 5*time.Millisecond
			p, scope := beam.NewPipelineWithRoot()
			end.Of(scope, beam.Create(scope, "x"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.name == "interrupted" {
				time.AfterFunc(300*time.Millisecond, cancel)
			}
			err := d.run(ctx, p, "adaptflow-ingest")
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v", err)
			}
			if s.asked != map[bool]string{true: "JOB_STATE_CANCELLED"}[errors.Is(err, context.Canceled)] {
				t.Errorf("asked for %q", s.asked)
			}
			if c.taken {
				return
			}
			if len(s.jobs) != 1 || s.jobs[0]["name"] != "adaptflow-ingest" || s.jobs[0]["type"] != "JOB_TYPE_BATCH" {
				t.Fatalf("%v", s.jobs)
			}
			for _, name := range []string{"worker", "model"} {
				written(t, "staging/adaptflow-ingest-", "/"+name)
			}
		})
	}
}
