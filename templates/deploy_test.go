package templates

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// flexParameter and flexTemplate have the fields that Dataflow publishes for a flex template's metadata, and no others are taken:
// https://cloud.google.com/dataflow/docs/guides/templates/configuring-flex-templates and ParameterMetadata of the v1b3 API.
type flexParameter struct {
	Name        string   `json:"name"`
	Label       string   `json:"label"`
	HelpText    string   `json:"helpText"`
	ParamType   string   `json:"paramType"`
	IsOptional  bool     `json:"isOptional"`
	Regexes     []string `json:"regexes"`
	EnumOptions []struct {
		Value string `json:"value"`
		Label string `json:"label"`
	} `json:"enumOptions"`
}

type flexTemplate struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  []flexParameter `json:"parameters"`
}

// paramTypes are the values of ParameterType of the v1b3 API that text, folders and files are given by.
var paramTypes = map[string]bool{"DEFAULT": true, "TEXT": true, "GCS_READ_BUCKET": true, "GCS_WRITE_BUCKET": true, "GCS_READ_FILE": true,
	"GCS_WRITE_FILE":  true,
	"GCS_READ_FOLDER": true, "GCS_WRITE_FOLDER": true, "BOOLEAN": true, "ENUM": true, "NUMBER": true}

func TestFlexTemplateMetadata(t *testing.T) {
	name := regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)
	for _, tpl := range List() {
		b, err := tpl.Dataflow()
		if err != nil {
			t.Fatal(err)
		}
		kept, err := os.ReadFile(filepath.Join("..", "deploy", "dataflow", tpl.Name+".json"))
		if err != nil || !bytes.Equal(bytes.TrimSpace(kept), bytes.TrimSpace(b)) {
			t.Errorf("deploy/dataflow/%s.json (%v) is not what the template gives: write it with adaptflow templates dataflow %s",
				tpl.Name, err, tpl.Name)
		}
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		var m flexTemplate
		if err := d.Decode(&m); err != nil {
			t.Fatalf("%s: %v", tpl.Name, err)
		}
		if m.Name == "" || m.Description == "" || len(m.Parameters) < 17 {
			t.Errorf("%s: %q, %q, %d parameters", tpl.Name, m.Name, m.Description, len(m.Parameters))
		}
		seen, required := map[string]bool{}, 0
		for _, p := range m.Parameters {
			if !name.MatchString(p.Name) || seen[p.Name] || p.Label == "" || p.HelpText == "" || !paramTypes[p.ParamType] {
				t.Errorf("%s: %+v", tpl.Name, p)
			}
			if seen[p.Name] = true; !p.IsOptional {
				required++
			}
			if (p.ParamType == "ENUM") != (len(p.EnumOptions) > 0) {
				t.Errorf("%s: %s is of type %s and has the options %v", tpl.Name, p.Name, p.ParamType, p.EnumOptions)
			}
			for _, o := range p.EnumOptions {
				if !regexp.MustCompile(p.Regexes[0]).MatchString(o.Value) {
					t.Errorf("%s: the option %s of %s is not taken", tpl.Name, o.Value, p.Name)
				}
			}
			for _, re := range p.Regexes {
				if !strings.HasPrefix(re, "^") || !strings.HasSuffix(re, "$") { // the whole value must match
					t.Errorf("%s: %s: %s is not anchored", tpl.Name, p.Name, re)
				}
				if _, err := regexp.Compile(re); err != nil {
					t.Errorf("%s: %s: %v", tpl.Name, p.Name, err)
				}
			}
		}
		if required != 2 || !seen["output"] || !seen["sdk_container_image"] {
			t.Errorf("%s: %d parameters have no default, want output and sdk_container_image", tpl.Name, required)
		}
		ps, err := tpl.Parameters()
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range ps { // a template's own value is one that its metadata takes
			for _, re := range m.Parameters[i].Regexes {
				if def := fmt.Sprint(p.Default); def != "" && !regexp.MustCompile(re).MatchString(def) {
					t.Errorf("%s: the default %q of %s does not match %s", tpl.Name, def, p.Name, re)
				}
			}
		}
	}
}

// manifest is what the test reads of a Kubernetes object.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Data map[string]string `yaml:"data"`
	Spec struct {
		Replicas int `yaml:"replicas"`
		Policy   `yaml:",inline"`
		// A Deployment's selector has matchLabels, a Service's is the labels.
		Selector map[string]any `yaml:"selector"`
		Ports    []struct {
			Name string `yaml:"name"`
			Port int    `yaml:"port"`
		} `yaml:"ports"`
		Template struct {
			Metadata struct {
				Labels map[string]any `yaml:"labels"`
			} `yaml:"metadata"`
			Spec struct {
				Containers []struct {
					Image        string         `yaml:"image"`
					Resources    map[string]any `yaml:"resources"`
					VolumeMounts []struct {
						Name string `yaml:"name"`
					} `yaml:"volumeMounts"`
				} `yaml:"containers"`
				Volumes []struct {
					Name      string            `yaml:"name"`
					ConfigMap map[string]string `yaml:"configMap"`
					Claim     map[string]string `yaml:"persistentVolumeClaim"`
				} `yaml:"volumes"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

// Policy is what the tests read of a NetworkPolicy. There is no other way to name who is let in.
type Policy struct {
	PodSelector *labelSelector `yaml:"podSelector"`
	PolicyTypes []string       `yaml:"policyTypes"`
	Ingress     []struct {
		From []struct {
			PodSelector *labelSelector `yaml:"podSelector"`
		} `yaml:"from"`
		Ports []struct {
			Protocol string `yaml:"protocol"`
			Port     int    `yaml:"port"`
		} `yaml:"ports"`
	} `yaml:"ingress"`
}

type labelSelector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

func (s *labelSelector) matches(labels map[string]string) bool {
	for k, v := range s.MatchLabels {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func flinkManifests(t *testing.T) (all []manifest) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "deploy", "flink", "cluster.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var m manifest
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// letsIn says whether policies let a pod connect to another's port, as Kubernetes has it: all may, unless policies select the other, of
// which one must then let them in.
func letsIn(t *testing.T, all []manifest, from, to map[string]string, port int) bool {
	selected, in := false, false
	for _, m := range all {
		p := m.Spec.Policy
		if m.Kind != "NetworkPolicy" {
			continue
		}
		if p.PodSelector == nil || fmt.Sprint(p.PolicyTypes) != "[Ingress]" {
			t.Fatalf("%s: %+v", m.Metadata.Name, p)
		}
		if !p.PodSelector.matches(to) {
			continue
		}
		selected = true
		for _, rule := range p.Ingress {
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Fatalf("%s has a rule without pods or without ports, which lets all in", m.Metadata.Name)
			}
			for _, f := range rule.From {
				if f.PodSelector == nil || len(f.PodSelector.MatchLabels) == 0 {
					t.Fatalf("%s lets in what no label names", m.Metadata.Name)
				}
				for _, q := range rule.Ports {
					in = in || f.PodSelector.matches(from) && q.Protocol == "TCP" && q.Port == port
				}
			}
		}
	}
	return in || !selected
}

// TestFlinkNetworkPolicies tries every pod's ports from every other: nobody gets in but who works there.
func TestFlinkNetworkPolicies(t *testing.T) {
	all := flinkManifests(t)
	var conf map[string]any
	for _, m := range all {
		if m.Kind == "ConfigMap" {
			if err := yaml.Unmarshal([]byte(m.Data["flink-conf.yaml"]), &conf); err != nil {
				t.Fatal(err)
			}
		}
	}
	pinned := func(key string) int {
		n, err := strconv.Atoi(fmt.Sprint(conf[key]))
		if err != nil {
			t.Errorf("%s is not pinned: %v", key, err)
		}
		return n
	}
	data, rpc, query, blob := pinned("taskmanager.data.port"), pinned("taskmanager.rpc.port"),
		pinned("metrics.internal.query-service.port"), pinned("blob.server.port")
	const managerRPC, rest, job, artifact = 6123, 8081, 8099, 8098 // Flink's defaults, and what the job server is started with
	open := map[string][]int{
		"driver>jobserver": {artifact, job}, "jobserver>jobmanager": {rest}, "taskmanager>jobmanager": {managerRPC, blob},
		"jobmanager>taskmanager": {rpc, query}, "taskmanager>taskmanager": {data},
	}
	pods := map[string]map[string]string{"driver": {"app": "adaptflow", "component": "driver"}, "stranger": {"app": "other",
		"component": "driver"}, "unlabelled": {},
		"jobserver": {"app": "adaptflow", "component": "jobserver"}, "jobmanager": {"app": "adaptflow", "component": "jobmanager"},
		"taskmanager": {"app": "adaptflow", "component": "taskmanager"}}
	for from, has := range pods {
		for _, to := range []string{"jobserver", "jobmanager", "taskmanager", "driver"} {
			for _, port := range []int{data, rpc, query, blob, managerRPC, rest, job, artifact, 22, 43210} {
				want := slices.Contains(open[from+">"+to], port)
				if got := letsIn(t, all, has, pods[to], port); got != want {
					t.Errorf("%s to port %d of %s: %v", from, port, to, got)
				}
			}
		}
	}
}

func TestFlinkManifests(t *testing.T) {
	versions := map[string]string{"PersistentVolumeClaim": "v1", "ConfigMap": "v1", "Service": "v1", "Deployment": "apps/v1",
		"StatefulSet":   "apps/v1",
		"NetworkPolicy": "networking.k8s.io/v1"}
	all := flinkManifests(t)
	named := map[string]manifest{}
	for _, m := range all {
		if versions[m.Kind] != m.APIVersion || m.Metadata.Name == "" {
			t.Errorf("%s %s %q", m.APIVersion, m.Kind, m.Metadata.Name)
		}
		named[m.Kind+"/"+m.Metadata.Name] = m
	}
	conf := named["ConfigMap/adaptflow-flink"].Data["flink-conf.yaml"]
	var flink map[string]any
	if err := yaml.Unmarshal([]byte(conf), &flink); err != nil || flink["restart-strategy.type"] != "fixed-delay" {
		t.Errorf("flink-conf.yaml: %v %v", flink, err)
	}
	if host := fmt.Sprint(flink["jobmanager.rpc.address"]); named["Service/"+host].Kind == "" {
		t.Errorf("no service is called %s, which the configuration names", host)
	}
	pods := map[string]bool{}
	for _, m := range all {
		if m.Kind != "Deployment" && m.Kind != "StatefulSet" {
			continue
		}
		labels := fmt.Sprint(m.Spec.Template.Metadata.Labels)
		pods[labels] = true
		if got := fmt.Sprint(m.Spec.Selector["matchLabels"]); got != labels || m.Spec.Replicas < 1 {
			t.Errorf("%s selects %s of pods with %s, %d times", m.Metadata.Name, got, labels, m.Spec.Replicas)
		}
		volumes := map[string]bool{}
		for _, v := range m.Spec.Template.Spec.Volumes {
			volumes[v.Name] = true
			if n := v.ConfigMap["name"]; n != "" && named["ConfigMap/"+n].Kind == "" {
				t.Errorf("%s: no config map %s", m.Metadata.Name, n)
			}
			if n := v.Claim["claimName"]; n != "" && named["PersistentVolumeClaim/"+n].Kind == "" {
				t.Errorf("%s: no claim %s", m.Metadata.Name, n)
			}
		}
		for _, c := range m.Spec.Template.Spec.Containers {
			if !regexp.MustCompile(`:[0-9]`).MatchString(c.Image) || c.Resources["limits"] == nil {
				t.Errorf("%s: image %s is not pinned or has no limit of memory", m.Metadata.Name, c.Image)
			}
			for _, v := range c.VolumeMounts {
				if !volumes[v.Name] {
					t.Errorf("%s mounts %s, which is not a volume", m.Metadata.Name, v.Name)
				}
			}
		}
	}
	if len(pods) != 3 || named["StatefulSet/adaptflow-taskmanager"].Spec.Replicas != 2 {
		t.Errorf("%d kinds of pods, %d task managers", len(pods), named["StatefulSet/adaptflow-taskmanager"].Spec.Replicas)
	}
	for _, m := range all {
		if m.Kind == "Service" && (!pods[fmt.Sprint(m.Spec.Selector)] || len(m.Spec.Ports) == 0) {
			t.Errorf("the service %s selects no pods: %v", m.Metadata.Name, m.Spec.Selector)
		}
	}
}
