package runners

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow/dataflowlib"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Dataflow are the settings of the runner dataflow, under the names of Dataflow's pipeline options.
type Dataflow struct {
	Project         string // Google Cloud project
	Region          string // such as europe-west4
	StagingLocation string // gs:// folder of the job's graph and program
	TempLocation    string // gs:// folder of temporary files; by default tmp in StagingLocation
	Image           string // container image of the workers: deploy/Dockerfile
	MachineType     string
	NumWorkers      int64
	MaxNumWorkers   int64
	DiskSizeGB      int64
	ServiceAccount  string
	Network         string
	Subnetwork      string
	NoPublicIPs     bool
	// TemplateLocation, where not "", is the gs:// object that the job is left in; it is not submitted. See [Launch].
	TemplateLocation string

	worker string        // the program that is staged; "" for this one
	api    string        // where Dataflow's API is; "" for Google's
	every  time.Duration // between two looks at a job; 0 for 15 seconds
	// DryRun, where not nil, takes the graph and the job of every pipeline as a JSON document, and no job is submitted.
	DryRun io.Writer
}

// ErrDryRun is the error of a pipeline that was written and not submitted.
var ErrDryRun = errors.New("dry run: the job was not submitted")

// MaxJobBytes is the largest job that Dataflow takes:
// https://cloud.google.com/dataflow/quotas.
const MaxJobBytes = 10 << 20

// check names what is missing.
func (d *Dataflow) check() error {
	for _, f := range []struct{ value, flag string }{{d.Project, "--project"}, {d.Region, "--region"},
		{d.StagingLocation, "--staging-location"}, {d.Image, "--image"}} {
		if f.value == "" {
			return fmt.Errorf("--runner dataflow needs %s", f.flag)
		}
	}
	for _, f := range []struct{ value, flag string }{{d.StagingLocation, "--staging-location"}, {d.TempLocation, "--temp-location"},
		{d.TemplateLocation, "--template_location"}} {
		if f.value != "" && !strings.HasPrefix(f.value, "gs://") {
			return fmt.Errorf("%s %q: want gs://BUCKET/FOLDER", f.flag, f.value)
		}
	}
	if d.NumWorkers < 0 || d.MaxNumWorkers < 0 || d.MaxNumWorkers > 0 && d.NumWorkers > d.MaxNumWorkers {
		return fmt.Errorf("--num-workers %d and --max-num-workers %d: want 0 or more, and no more than the maximum",
			d.NumWorkers, d.MaxNumWorkers)
	}
	return nil
}

var notInJobName = regexp.MustCompile(`[^a-z0-9]+`)

// graph is the pipeline as Dataflow takes it: its DoFns run in the workers' image.
func (d *Dataflow) graph(ctx context.Context, p *beam.Pipeline) (*pipepb.Pipeline, error) {
	edges, _, err := p.Build()
	if err != nil {
		return nil, err
	}
	env, err := graphx.CreateEnvironment(ctx, graphx.URNEnvDocker, func(context.Context) string { return d.Image })
	if err != nil {
		return nil, err
	}
	return graphx.Marshal(edges, &graphx.Options{Environment: env})
}

// options are the job's options of Beam's library.
func (d *Dataflow) options(name string) *dataflowlib.JobOptions {
	temp := d.TempLocation
	if temp == "" {
		temp = strings.TrimSuffix(d.StagingLocation, "/") + "/tmp"
	}
	return &dataflowlib.JobOptions{Name: strings.Trim(notInJobName.ReplaceAllString(strings.ToLower(name), "-"), "-"),
		// Those that Beam's runner sets for the portable runner.
		Experiments: []string{"beam_fn_api", "use_runner_v2", "use_unified_worker", "use_portable_job_submission"},
		Options:     runtime.RawOptions{Options: map[string]string{}},
		Project:     d.Project, Region: d.Region, Network: d.Network, Subnetwork: d.Subnetwork, NoUsePublicIPs: d.NoPublicIPs,
		NumWorkers: d.NumWorkers, MaxNumWorkers: d.MaxNumWorkers, DiskSizeGb: d.DiskSizeGB, MachineType: d.MachineType,
		ServiceAccountEmail: d.ServiceAccount, TempLocation: temp, ContainerImage: d.Image,
		TemplateLocation: d.TemplateLocation, Worker: d.worker}
}

// run submits a pipeline and waits for its end, or writes it where this is a dry run.
func (d *Dataflow) run(ctx context.Context, p *beam.Pipeline, name string) error {
	model, err := d.graph(ctx, p)
	if err != nil {
		return err
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(model)
	if err != nil {
		return err
	}
	if len(raw) >= MaxJobBytes {
		return fmt.Errorf("the graph takes %d bytes and Dataflow takes less than %d: give fewer, larger input files", len(raw), MaxJobBytes)
	}
	sum := sha256.Sum256(raw)
	hash := hex.EncodeToString(sum[:])
	opts := d.options(name)
	at := strings.TrimSuffix(d.StagingLocation, "/") + "/" + opts.Name + "-" + hash[:12]
	if d.DryRun == nil {
		return d.submit(ctx, model, opts, at)
	}
	job, err := dataflowlib.Translate(ctx, model, opts, at+"/worker", at+"/model", hash)
	if err != nil {
		return err
	}
	graph, err := protojson.Marshal(model)
	if err != nil {
		return err
	}
	e := json.NewEncoder(d.DryRun)
	e.SetIndent("", " ")
	if err := e.Encode(map[string]any{"name": opts.Name, "pipeline": json.RawMessage(graph), "job": job}); err != nil {
		return err
	}
	return ErrDryRun
}
