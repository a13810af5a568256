package runners

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/protobuf/proto"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/perkey"
)

// workerFlags are the flags of Beam's container contract (https://s.apache.org/beam-fn-api-container-contract), with which a runner
// starts a worker: as the entry point of a container or a process of a task manager (id, provision_endpoint and others), or as the program
// that Beam's own boot starts (worker=true).
type workerFlags struct {
	worker                                 bool
	id                                     string
	logging, control, artifact, provision  string
	semiPersist, options, statusFromRunner string
	capabilities                           []string
}

// IsWorker says whether a runner has started this program as a worker: the arguments are those of Beam's contract.
func IsWorker(args []string) bool {
	if len(args) == 0 || !strings.HasPrefix(args[0], "--") {
		return false
	}
	return slices.ContainsFunc(args, func(a string) bool {
		return a == "--worker" || a == "--worker=true" || strings.HasPrefix(a, "--provision_endpoint=") ||
			strings.HasPrefix(a, "--control_endpoint=")
	})
}

func parseWorker(args []string) (*workerFlags, error) {
	var f workerFlags
	s := flag.NewFlagSet("worker", flag.ContinueOnError)
	s.SetOutput(io.Discard)
	s.BoolVar(&f.worker, "worker", false, "")
	s.StringVar(&f.id, "id", "", "")
	s.StringVar(&f.logging, "logging_endpoint", "", "")
	s.StringVar(&f.control, "control_endpoint", "", "")
	s.StringVar(&f.artifact, "artifact_endpoint", "", "")
	s.StringVar(&f.provision, "provision_endpoint", "", "")
	s.StringVar(&f.semiPersist, "semi_persist_dir", "", "")
	s.StringVar(&f.options, "options", "", "")
	if err := s.Parse(args); err != nil {
		return nil, fmt.Errorf("worker: %w", err)
	}
	switch {
	case s.NArg() > 0:
		return nil, fmt.Errorf("worker: unknown argument %q", s.Arg(0))
	case f.id == "":
		return nil, errors.New("worker: --id is missing")
	case !f.worker && f.provision == "":
		return nil, errors.New("worker: --provision_endpoint is missing")
	}
	return &f, nil
}

// Worker is the program as a worker of a runner: it connects to the endpoints that the arguments name and runs bundles until the runner
// closes the connection or its parent ends. Everything that DoFns need they read through their references; this process loads a base model
// once. The error tells why the worker could not start or lost its runner; it is sent to the runner's log too.
func Worker(args []string) error {
	f, err := parseWorker(args)
	if err != nil {
		return err
	}
	ctx := grpcx.WriteWorkerID(context.Background(), f.id)
	go endWithParent()
	if err := f.serve(ctx); err != nil {
		err = fmt.Errorf("worker %s: %w", f.id, err)
		if f.logging != "" {
			tell, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			logger := &tools.Logger{Endpoint: f.logging}
			logger.Errorf(tell, "adaptflow: %v", err)
		}
		return err
	}
	return nil
}

// endWithParent ends this process when the one that started it has ended, so that a killed task manager leaves no worker behind. What
// a worker writes is whole or absent, so that it may end at any moment.
func endWithParent() {
	for parent := os.Getppid(); ; time.Sleep(500 * time.Millisecond) {
		if os.Getppid() != parent {
			fmt.Fprintln(os.Stderr, "adaptflow: the process that started this worker has ended")
			os.Exit(1)
		}
	}
}

func (f *workerFlags) serve(ctx context.Context) error {
	var opt runtime.RawOptionsWrapper
	if err := f.provisioned(ctx, &opt); err != nil {
		return err
	}
	if f.logging == "" || f.control == "" {
		return errors.New("the runner names no logging endpoint or no control endpoint")
	}
	if err := enter(); err != nil {
		return err
	}
	if err := kernels.CheckEnv(); err != nil {
		return err
	}
	runtime.GlobalOptions.Import(opt.Options)
	beamlog.LogLevel = "info"
	beam.Init()
	mem.Heap(mem.Own(ctx), 50, 0) // weights and activations lie outside the heap
	// The driver follows training by the checkpoints; the runner's log has every step.
	defer train.Watch("", func(p train.Progress) {
		if s := p.Step; s != nil {
			beamlog.Infof(ctx, "step %d of %d: loss %.4f, %d tokens in %.2f s", s.Step, p.Total, s.Loss, s.Tokens, s.Seconds)
		}
		if p.Eval != nil {
			beamlog.Infof(ctx, "step %d: eval_loss %.4f", p.Eval.Step, p.Eval.Loss)
		}
	})()
	defer perkey.Watch("", func(r *perkey.Result) { beamlog.Infof(ctx, "key %q: %d steps, loss %v", r.Key, r.Steps, r.Loss) })()
	return harness.MainWithOptions(ctx, f.logging, f.control,
		harness.Options{StatusEndpoint: f.statusFromRunner, RunnerCapabilities: f.capabilities})
}

// provisioned fills in what the runner's provision service tells, or, where Beam's boot has asked it already, what boot left.
func (f *workerFlags) provisioned(ctx context.Context, opt *runtime.RawOptionsWrapper) error {
	if f.worker {
		f.statusFromRunner, f.capabilities = os.Getenv("STATUS_ENDPOINT"), strings.Fields(os.Getenv("RUNNER_CAPABILITIES"))
		text := f.options
		if path := os.Getenv("PIPELINE_OPTIONS_FILE"); path != "" {
			raw, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("the pipeline options: %w", err)
			}
			text = string(raw)
		}
		if text == "" {
			return nil
		}
		s, err := tools.JSONToProto(text)
		if err != nil {
			return fmt.Errorf("the pipeline options: %w", err)
		}
		return tools.ProtoToOptions(s, opt)
	}
	info, err := tools.ProvisionInfo(ctx, f.provision)
	if err != nil {
		return fmt.Errorf("the provision service %s: %w", f.provision, err)
	}
	for _, e := range []struct {
		to  *string
		url string
	}{{&f.logging, info.GetLoggingEndpoint().GetUrl()}, {&f.control, info.GetControlEndpoint().GetUrl()},
		{&f.artifact, info.GetArtifactEndpoint().GetUrl()}} {
		if e.url != "" {
			*e.to = e.url
		}
	}
	f.statusFromRunner, f.capabilities = info.GetStatusEndpoint().GetUrl(), info.GetRunnerCapabilities()
	if err := sameProgram(info); err != nil {
		return err
	}
	return tools.ProtoToOptions(info.GetPipelineOptions(), opt)
}

// sameProgram checks that this program is the one that the job was built by, where the job says: DoFns are found by name in the program, so
// that another version would run other code.
func sameProgram(info *fnpb.ProvisionInfo) error {
	for _, d := range info.GetDependencies() {
		if d.GetRoleUrn() != graphx.URNArtifactGoWorkerRole {
			continue
		}
		var want string
		var file pipepb.ArtifactFilePayload
		var url pipepb.ArtifactUrlPayload
		switch d.GetTypeUrn() {
		case graphx.URNArtifactFileType:
			if err := proto.Unmarshal(d.GetTypePayload(), &file); err != nil {
				return err
			}
			want = file.GetSha256()
		case graphx.URNArtifactURLType:
			if err := proto.Unmarshal(d.GetTypePayload(), &url); err != nil {
				return err
			}
			want = url.GetSha256()
		}
		if want == "" {
			continue
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		got, err := storage.SHA256File(self)
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("the job was submitted by another build of adaptflow (SHA-256 %s) than this worker's (%s): submit it with "+
				"the program of the workers' image", want, got)
		}
	}
	return nil
}
