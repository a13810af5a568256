package runners

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"

	"github.com/adaptflow/adaptflow/internal/childenv"
)

func init() { beam.RegisterDoFn(&driveFn{}) }

// Dataflow's launcher of flex templates starts the program that FLEX_TEMPLATE_GO_BINARY names with the template's parameters and Dataflow's
// pipeline options as --NAME=VALUE, in Beam's spelling, and with --template_location, where the program leaves one job, which the launcher
// then submits. A run is a loop of jobs, so that the one left is a job whose only step drives the run on a worker: it runs this program,
// which submits the others. Dataflow tries a step that fails again, elsewhere; the run then goes on from its work location.

// templateLocation is the option that only the launcher gives.
const templateLocation = "--template_location="

// IsLaunch says whether the launcher of flex templates has started this program.
func IsLaunch(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, templateLocation) })
}

// Launch is a run that a flex template was launched for.
type Launch struct {
	// Args are the arguments of the program that drives the run, on a worker.
	Args []string
	// Ignored are the options that were given and that a run does not have.
	Ignored []string
	// Job are the settings of the job that drives, which has one worker.
	Job Dataflow
	// Name of that job.
	Name string
}

// launchOptions are Beam's pipeline options by which Dataflow's flags of run are given.
var launchOptions = map[string]string{"project": "project", "region": "region", "staging_location": "staging-location",
	"temp_location": "temp-location", "sdk_container_image": "image", "worker_machine_type": "machine-type", "machine_type": "machine-type",
	"service_account_email": "service-account", "network": "network", "subnetwork": "subnetwork", "num_workers": "num-workers",
	"max_num_workers": "max-num-workers", "disk_size_gb": "disk-size-gb", "output": "output", "work_location": "work-location"}

// ParseLaunch reads the launcher's arguments. template is the recipe's template, which the image names; parameters are those that it has.
func ParseLaunch(template string, parameters, args []string) (*Launch, error) {
	if template == "" {
		return nil, errors.New("the image names no template: build it with --build-arg TEMPLATE=NAME, or set ADAPTFLOW_TEMPLATE in it")
	}
	l := &Launch{Name: "adaptflow-" + template, Args: []string{"run", template, "--runner=dataflow", "--log-format=json"}}
	given := map[string]string{}
	for _, a := range args {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
		if !ok || !strings.HasPrefix(a, "-") {
			return nil, fmt.Errorf("launching %s: %q is not --NAME=VALUE", template, a)
		}
		if value == "" { // a parameter that was left empty
			continue
		}
		given[name] = value
		switch flag, isFlag := launchOptions[name]; {
		case name == "template_location":
			l.Job.TemplateLocation = value
		case name == "job_name":
			l.Name = value
		case name == "runner": // it is Dataflow
		case name == "no_use_public_ips":
			if l.Job.NoPublicIPs = value == "true"; l.Job.NoPublicIPs {
				l.Args = append(l.Args, "--no-public-ips")
			}
		case isFlag:
			l.Args = append(l.Args, "--"+flag+"="+value)
		case slices.Contains(parameters, name):
			l.Args = append(l.Args, "--set="+name+"="+value)
		default:
			l.Ignored = append(l.Ignored, name)
		}
	}
	j := &l.Job
	j.Project, j.Region = given["project"], given["region"]
	j.StagingLocation, j.TempLocation = given["staging_location"], given["temp_location"]
	j.Image, j.ServiceAccount, j.Network, j.Subnetwork = given["sdk_container_image"], given["service_account_email"], given["network"],
		given["subnetwork"]
	j.MachineType = given["worker_machine_type"]
	if j.MachineType == "" {
		j.MachineType = given["machine_type"]
	}
	j.NumWorkers, j.MaxNumWorkers = 1, 1
	if j.Image == "" {
		return nil, errors.New("the parameter sdk_container_image is missing: the image of the template, or the workers'")
	}
	if err := j.check(); err != nil {
		return nil, err
	}
	return l, Runner{Name: "dataflow", Dataflow: j}.CheckOutput(given["output"], true)
}

// Stage leaves the job where the launcher takes it. The program has called beam.Init.
func (l *Launch) Stage(ctx context.Context) error {
	p, s := beam.NewPipelineWithRoot()
	raw, err := json.Marshal(l.Args)
	if err != nil {
		return err
	}
	beam.ParDo0(s.Scope("drive"), &driveFn{}, beam.Create(s, string(raw)))
	return l.Job.run(ctx, p, l.Name)
}

// driveFn runs this program with arguments, a list in JSON, on the worker.
type driveFn struct{}

// ProcessElement runs it to its end. Its lines are the worker's log.
func (*driveFn) ProcessElement(ctx context.Context, raw string) error {
	var args []string
	if err := json.Unmarshal([]byte(raw), &args); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := childenv.Set{Schemes: []string{"gs", "s3"}}.Command(ctx, self, args...)
	c.Dir = os.TempDir()
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) } // its lease is given back
	c.WaitDelay = time.Minute
	lines, err := c.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	last := ""
	for scan := bufio.NewScanner(lines); scan.Scan(); {
		last = scan.Text()
		beamlog.Info(ctx, last)
	}
	if err := c.Wait(); err != nil {
		return fmt.Errorf("the run's driver: %w: %s", err, last)
	}
	return nil
}
