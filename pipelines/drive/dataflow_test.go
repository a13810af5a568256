package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
)

// dryJob is what a dry run writes of a pipeline.
type dryJob struct {
	Name     string          `json:"name"`
	Pipeline json.RawMessage `json:"pipeline"`
	Job      struct {
		Type        string `json:"type"`
		Environment struct {
			ServiceAccountEmail string `json:"serviceAccountEmail"`
			TempStoragePrefix   string `json:"tempStoragePrefix"`
			WorkerPools         []struct {
				MachineType     string `json:"machineType"`
				NumWorkers      int64  `json:"numWorkers"`
				Network         string `json:"network"`
				Subnetwork      string `json:"subnetwork"`
				IPConfiguration string `json:"ipConfiguration"`
				Image           string `json:"workerHarnessContainerImage"`
				Autoscaling     struct {
					MaxNumWorkers int64 `json:"maxNumWorkers"`
				} `json:"autoscalingSettings"`
			} `json:"workerPools"`
		} `json:"environment"`
	} `json:"job"`
}

// stable are the parts of a graph that a change must not change unseen: the transforms by their full names with what they are, and the
// coders of what runs between them.
func stable(p *pipepb.Pipeline) string {
	c := p.GetComponents()
	coder := func(id string) string { return spell(c, c.GetPcollections()[id].GetCoderId()) }
	var lines []string
	for _, t := range c.GetTransforms() {
		if len(t.GetSubtransforms()) > 0 {
			continue
		}
		var in, out []string
		for _, id := range t.GetInputs() {
			in = append(in, coder(id))
		}
		for _, id := range t.GetOutputs() {
			out = append(out, coder(id))
		}
		slices.Sort(in)
		slices.Sort(out)
		lines = append(lines, fmt.Sprintf("%s | %s | %s -> %s", t.GetUniqueName(), t.GetSpec().GetUrn(), strings.Join(in, ", "),
			strings.Join(out, ", ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// spell writes a coder and its components.
func spell(c *pipepb.Components, id string) string {
	k := c.GetCoders()[id]
	s := strings.TrimSuffix(strings.TrimPrefix(k.GetSpec().GetUrn(), "beam:coder:"), ":v1")
	var parts []string
	for _, sub := range k.GetComponentCoderIds() {
		parts = append(parts, spell(c, sub))
	}
	if len(parts) > 0 {
		s += "<" + strings.Join(parts, ", ") + ">"
	}
	return s
}

func dataflow(out *bytes.Buffer) runners.Runner {
	return runners.Runner{Name: "dataflow", Job: "test",
		Dataflow: &runners.Dataflow{Project: "p", Region: "europe-west4", StagingLocation: "gs://b/staging", Image: "registry/adaptflow:1",
			MachineType: "c3-standard-8", NumWorkers: 2, MaxNumWorkers: 5, ServiceAccount: "worker@p", Network: "n", Subnetwork: "s",
			NoPublicIPs: true, DryRun: out}}
}

func TestDataflowJobOfTraining(t *testing.T) {
	for _, c := range []struct {
		name     string
		replicas int
	}{{"segment", 1}, {"rounds", 2}} {
		var out bytes.Buffer
		job := train.Job{Args: train.DefaultArgs(), Dir: "out/checkpoints", Train: []train.ShardRef{{Path: "shards/train-0.parquet"}}}
		job.Args.MaxSteps, job.Args.SaveSteps, job.Args.Replicas = 4, 2, c.replicas
		err := segment(context.Background(), job, `{"job": "`+c.name+`"}`, dataflow(&out), 0, 2, 4, nil)
		if !errors.Is(err, runners.ErrDryRun) {
			t.Fatalf("%s: %v", c.name, err)
		}
		var got dryJob
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		var p pipepb.Pipeline
		if err := protojson.Unmarshal(got.Pipeline, &p); err != nil {
			t.Fatal(err)
		}
		if n := proto.Size(&p); n >= runners.MaxJobBytes || n < 1000 {
			t.Errorf("%s: the graph takes %d bytes", c.name, n)
		}
		path := filepath.Join("testdata", "dataflow", c.name+".txt")
		text := stable(&p)
		want, err := os.ReadFile(path)
		if err != nil || string(want) != text {
			t.Errorf("%s (%v) is not the graph, which is\n%s", path, err, text)
		}
		pool := got.Job.Environment.WorkerPools[0]
		if got.Name != "adaptflow-train-0-test" {
			t.Errorf("name %q", got.Name)
		}
		if got.Job.Type != "JOB_TYPE_BATCH" || got.Job.Environment.ServiceAccountEmail != "worker@p" ||
			got.Job.Environment.TempStoragePrefix != "gs://b/staging/tmp" ||
			pool.MachineType != "c3-standard-8" || pool.NumWorkers != 2 || pool.Autoscaling.MaxNumWorkers != 5 || pool.Network != "n" ||
			pool.Subnetwork != "s" ||
			pool.IPConfiguration != "WORKER_IP_PRIVATE" || pool.Image != "registry/adaptflow:1" {
			t.Errorf("%s: %+v", c.name, got.Job)
		}
	}
}
