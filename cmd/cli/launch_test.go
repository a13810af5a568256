package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/templates"
)

// TestLaunchedRuns: what a flex template's launcher gives becomes a command line that the program takes, for every template.
func TestLaunchedRuns(t *testing.T) {
	for _, tmpl := range templates.List() {
		ps, err := tmpl.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"--template_location=gs://b/launches/1", "--project=p", "--region=r", "--staging_location=gs://b/s",
			"--job_name=j", "--temp_location=gs://b/t", "--sdk_container_image=i", "--machine_type=c3-standard-8",
			"--service_account_email=a@p", "--network=n", "--subnetwork=s", "--num_workers=1", "--max_num_workers=2",
			"--disk_size_gb=50", "--no_use_public_ips=true", "--output=gs://b/o", "--work_location=gs://b/w", "--seed=7"}
		for _, p := range ps {
			if p.Name != "seed" {
				args = append(args, "--"+p.Name+"=")
			}
		}
		l, err := parseLaunch(tmpl.Name, args)
		if err != nil || len(l.Ignored) > 0 {
			t.Fatalf("%s: %v, %v", tmpl.Name, err, l)
		}
		c, rest, err := command().Find(l.Args)
		if err == nil {
			err = c.ParseFlags(rest)
		}
		if err != nil || c.Name() != "run" || c.Flags().Arg(0) != tmpl.Name {
			t.Fatalf("%s: %v: %v", tmpl.Name, l.Args, err)
		}
		for flag, want := range map[string]string{"runner": "dataflow", "image": "i", "output": "gs://b/o", "work-location": "gs://b/w",
			"set": "[seed=7]", "disk-size-gb": "50", "no-public-ips": "true", "log-format": "json"} {
			if got := c.Flags().Lookup(flag).Value.String(); got != want {
				t.Errorf("%s: --%s is %q, want %q", tmpl.Name, flag, got, want)
			}
		}
	}
	if _, err := parseLaunch("nothing", nil); err == nil {
		t.Error("a template that there is not is launched")
	}
	raw, err := os.ReadFile(filepath.Join(deployed, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FROM worker AS flex", "ENV " + templateVariable + "=${TEMPLATE}",
		"ENV FLEX_TEMPLATE_GO_BINARY=/opt/adaptflow/adaptflow", "/opt/google/dataflow/go_template_launcher"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
}
