package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/pipelines/runners"
)

// deployed is where the manifests are.
var deployed = filepath.Join("..", "..", "deploy")

// object is a Kubernetes object.
type object map[string]any

// at is what an object has at a path of names and positions, separated by slashes; nil where it has nothing.
func (o object) at(path string) any {
	var v any = map[string]any(o)
	for _, p := range strings.Split(path, "|") {
		switch x := v.(type) {
		case map[string]any:
			v = x[p]
		case []any:
			n, err := strconv.Atoi(p)
			if err != nil || n >= len(x) {
				return nil
			}
			v = x[n]
		default:
			return nil
		}
	}
	return v
}

func (o object) text(path string) string {
	s, _ := o.at(path).(string)
	return s
}

// objects reads a file of manifests.
func objects(t *testing.T, file string) (out []object) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := yaml.NewDecoder(bytes.NewReader(raw)); ; {
		var o map[string]any
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		text, err := json.Marshal(o) // numbers and names as JSON has them
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		var v map[string]any
		if err := json.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
}

// schemaOf compiles the schemas of deploy/schemas and gives that of a kind.
func schemaOf(t *testing.T) func(kind string) *jsonschema.Schema {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployed, "schemas", "schemas.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("file:///schemas.json", doc); err != nil {
		t.Fatal(err)
	}
	kinds := doc.(map[string]any)["kinds"].(map[string]any)
	return func(kind string) *jsonschema.Schema {
		s, err := c.Compile(fmt.Sprintf("file:///schemas.json#/$defs/%s", kinds[kind]))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		return s
	}
}

// resources are what a kustomization applies, read as kustomize does: files, and folders of others.
func resources(t *testing.T, dir string) (out []object) {
	t.Helper()
	k := objects(t, filepath.Join(dir, "kustomization.yaml"))
	if len(k) != 1 || k[0]["kind"] != "Kustomization" || k[0]["apiVersion"] != "kustomize.config.k8s.io/v1beta1" || len(k[0]) != 3 {
		t.Fatalf("%s: %v", dir, k)
	}
	named := map[string]bool{"kustomization.yaml": true}
	for _, r := range k[0]["resources"].([]any) {
		name := r.(string)
		named[name] = true
		path := filepath.Join(dir, name)
		if strings.HasSuffix(name, ".yaml") {
			out = append(out, objects(t, path)...)
		} else {
			out = append(out, resources(t, path)...)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		if !named[filepath.Base(f)] {
			t.Errorf("%s is not a resource of its kustomization", f)
		}
	}
	return out
}

var overlays = map[string]string{"s3": "s3", "gcs": "gs"} // with the scheme of their store

// TestManifestsBySchema: every document is what Kubernetes and the Flink operator take, and a wrong one is not.
func TestManifestsBySchema(t *testing.T) {
	of := schemaOf(t)
	all := objects(t, filepath.Join(deployed, "flink", "cluster.yaml"))
	for overlay := range overlays {
		all = append(all, resources(t, filepath.Join(deployed, "kustomize", "overlays", overlay))...)
	}
	kinds := map[string]int{}
	for _, o := range all {
		kind := o.text("kind")
		kinds[kind]++
		if err := of(kind).Validate(map[string]any(o)); err != nil {
			t.Errorf("%s %s: %v", kind, o.text("metadata|name"), err)
		}
		spec, ok := o["spec"].(map[string]any)
		if !ok {
			continue
		}
		spec["misspelt"] = true
		if of(kind).Validate(map[string]any(o)) == nil {
			t.Errorf("%s: a field that there is not is taken", kind)
		}
	}
	if kinds["FlinkDeployment"] != 2 || kinds["Job"] != 2 || kinds["NetworkPolicy"] < 12 {
		t.Errorf("%v", kinds)
	}
}

// pod is a kind of pod of a kustomization.
type pod struct {
	labels map[string]any
	spec   object
}

func podsOf(t *testing.T, all []object) map[string]pod {
	t.Helper()
	pods := map[string]pod{}
	for _, o := range all {
		var at []string
		switch o["kind"] {
		case "Deployment", "Job":
			at = []string{"spec|template"}
		case "FlinkDeployment":
			at = []string{"spec|jobManager|podTemplate", "spec|taskManager|podTemplate"}
		}
		for _, path := range at {
			labels, _ := o.at(path + "|metadata|labels").(map[string]any)
			name, _ := labels["app.kubernetes.io/component"].(string)
			pods[name] = pod{labels, o.at(path + "|spec").(map[string]any)}
		}
	}
	if len(pods) != 4 {
		t.Fatalf("%d kinds of pods", len(pods))
	}
	return pods
}

// TestPodsAreClosed: no pod is root, writes to its image or has a token, no key stands in a manifest, and what Go keeps follows the limit.
func TestPodsAreClosed(t *testing.T) {
	for overlay := range overlays {
		dir := filepath.Join(deployed, "kustomize", "overlays", overlay)
		all := resources(t, dir)
		for name, p := range podsOf(t, all) {
			c := object(p.spec.at("containers|0").(map[string]any))
			for path, want := range map[string]any{"securityContext|runAsNonRoot": true, "automountServiceAccountToken": false,
				"securityContext|seccompProfile|type": "RuntimeDefault"} {
				if got := p.spec.at(path); got != want {
					t.Errorf("%s %s: %s is %v", overlay, name, path, got)
				}
			}
			for path, want := range map[string]any{"securityContext|readOnlyRootFilesystem": true,
				"securityContext|allowPrivilegeEscalation": false, "securityContext|capabilities|drop|0": "ALL"} {
				if got := c.at(path); got != want {
					t.Errorf("%s %s: %s is %v", overlay, name, path, got)
				}
			}
			mounts := map[string]bool{}
			for i := 0; c.at(fmt.Sprintf("volumeMounts|%d", i)) != nil; i++ {
				mounts[c.text(fmt.Sprintf("volumeMounts|%d|name", i))] = true
			}
			for i := 0; p.spec.at(fmt.Sprintf("volumes|%d", i)) != nil; i++ {
				at := fmt.Sprintf("volumes|%d|", i)
				if !mounts[p.spec.text(at+"name")] || p.spec.text(at+"emptyDir|sizeLimit") == "" {
					t.Errorf("%s %s: a volume that is not mounted, not bounded, or kept: %v", overlay, name, p.spec.at(at+"name"))
				}
				delete(mounts, p.spec.text(at+"name"))
			}
			if len(mounts) > 0 {
				t.Errorf("%s %s: %v are mounted and are not volumes", overlay, name, mounts)
			}
			if name != "driver" && (c.at("livenessProbe") == nil || c.at("readinessProbe") == nil) {
				t.Errorf("%s %s has no probes", overlay, name)
			}
			runsGo := name == "driver" || name == "taskmanager"
			limit := c.at("env|0|valueFrom|resourceFieldRef")
			if runsGo != (limit != nil) || runsGo && (c.text("env|0|name") != "GOMEMLIMIT" ||
				object(limit.(map[string]any)).text("resource") != "limits.memory" ||
				object(limit.(map[string]any)).text("containerName") != c.text("name")) {
				t.Errorf("%s %s: GOMEMLIMIT is %v", overlay, name, limit)
			}
			if runsGo && (c.text("envFrom|0|configMapRef|name") != "adaptflow-store" || c.at("envFrom|1|secretRef|optional") != true) {
				t.Errorf("%s %s: %v", overlay, name, c.at("envFrom"))
			}
		}
		for _, o := range all {
			if o["kind"] == "Secret" {
				t.Errorf("%s: a secret stands in a manifest", overlay)
			}
			if data, ok := o["data"].(map[string]any); ok {
				for k := range data {
					if strings.Contains(k, "KEY") || strings.Contains(k, "SECRET") || strings.Contains(k, "TOKEN") {
						t.Errorf("%s: %s is in a ConfigMap", overlay, k)
					}
				}
			}
		}
	}
}

// TestTheRunOfTheManifests parses the driver's command as the program does, and compares what it names with what there is.
func TestTheRunOfTheManifests(t *testing.T) {
	for overlay, scheme := range overlays {
		all := resources(t, filepath.Join(deployed, "kustomize", "overlays", overlay))
		named := map[string]object{}
		for _, o := range all {
			named[o.text("kind")+"/"+o.text("metadata|name")] = o
		}
		driver := object(podsOf(t, all)["driver"].spec.at("containers|0").(map[string]any))
		var args []string
		for _, a := range driver["args"].([]any) {
			args = append(args, a.(string))
		}
		c, rest, err := command().Find(args)
		if err != nil || c.Name() != "run" {
			t.Fatalf("%v: %v", args, err)
		}
		if err := c.ParseFlags(rest); err != nil {
			t.Fatal(err)
		}
		if err := c.Args(c, c.Flags().Args()); err != nil {
			t.Error(err)
		}
		flag := func(name string) string { return c.Flags().Lookup(name).Value.String() }
		f := recipeFlags{set: strings.Split(strings.Trim(flag("set"), "[]"), "\n")}
		if _, err := f.resolve(c.Flags().Arg(0)); err != nil {
			t.Error(err)
		}
		r := runners.Runner{Name: flag("runner"), Endpoint: flag("endpoint"), Environment: flag("environment"),
			Program: flag("worker-program")}
		if r, err = r.Resolve(); err != nil {
			t.Error(err)
		}
		if storage.Scheme(flag("output")) != scheme || storage.Scheme(strings.TrimPrefix(f.set[0], "input=")) != scheme ||
			flag("log-format") != "json" || !r.Remote() {
			t.Errorf("%s: %v", overlay, args)
		}
		host, port, err := net.SplitHostPort(r.Endpoint)
		service := named["Service/"+host]
		if err != nil || fmt.Sprint(service.at("spec|ports|0|port")) != port {
			t.Errorf("%s: the endpoint %s is not a port of the service %v", overlay, r.Endpoint, service)
		}
		flink := named["FlinkDeployment/adaptflow"]
		dockerfile, err := os.ReadFile(filepath.Join(deployed, "Dockerfile"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(dockerfile), " "+r.Program+"\n") {
			t.Errorf("the image has no %s", r.Program)
		}
		pinned := regexp.MustCompile(`beam-runners-flink-([0-9]+)\.([0-9]+)-([0-9.]+)\.jar`)
		sums, err := os.ReadFile(filepath.Join("..", "..", "pipelines", "runners", "jobserver", "flink", "SHA256SUMS"))
		m := pinned.FindStringSubmatch(string(sums))
		if err != nil || m == nil {
			t.Fatal(err, "no runner is pinned")
		}
		server := named["Deployment/adaptflow-jobserver"].text("spec|template|spec|containers|0|image")
		for what, ok := range map[string]bool{
			"driver":        driver.text("image") == "adaptflow:"+version.Version,
			"Flink's image": flink.text("spec|image") == "adaptflow-flink:"+version.Version,
			"Flink":         flink.text("spec|flinkVersion") == "v"+m[1]+"_"+m[2],
			"job server":    server == fmt.Sprintf("apache/beam_flink%s.%s_job_server:%s", m[1], m[2], m[3]),
			"Dockerfile":    strings.Contains(string(dockerfile), "FROM flink:"+m[1]+"."+m[2]+"."),
			"master": strings.Contains(fmt.Sprint(named["Deployment/adaptflow-jobserver"].at("spec|template|spec|containers|0|args")),
				"--flink-master="+flink.text("metadata|name")+"-rest:8081"),
		} {
			if !ok {
				t.Errorf("%s: the %s is not of the pinned versions %v", overlay, what, m)
			}
		}
		for _, want := range []string{"ServiceAccount/" + flink.text("spec|serviceAccount"), "ConfigMap/adaptflow-store"} {
			if named[want] == nil {
				t.Errorf("%s: there is no %s", overlay, want)
			}
		}
	}
}

// selects says whether a selector of labels takes them; an empty one takes all.
func selects(sel any, labels map[string]any) bool {
	s, ok := sel.(map[string]any)
	if !ok {
		return false
	}
	want, _ := s["matchLabels"].(map[string]any)
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	exprs, _ := s["matchExpressions"].([]any)
	for _, e := range exprs {
		x := e.(map[string]any)
		if x["operator"] != "In" || !slices.Contains(x["values"].([]any), labels[x["key"].(string)]) {
			return false
		}
	}
	return true
}

// allows says whether policies of a direction let a pod talk with a peer, a pod of a namespace or, without labels, an address outside.
func allows(all []object, direction, end string, self, peer, space map[string]any, port int) bool {
	selected := false
	for _, o := range all {
		types, _ := o.at("spec|policyTypes").([]any)
		if o["kind"] != "NetworkPolicy" || !slices.Contains(types, any(direction)) || !selects(o.at("spec|podSelector"), self) {
			continue
		}
		selected = true
		rules, _ := o.at("spec|" + strings.ToLower(direction)).([]any)
		for _, rule := range rules {
			x := rule.(map[string]any)
			peers, _ := x[end].([]any)
			ports, _ := x["ports"].([]any)
			if len(peers) == 0 || len(ports) == 0 {
				return true // all peers, or all ports: the tests then find too much
			}
			for _, p := range peers {
				q := p.(map[string]any)
				hit := false
				if q["ipBlock"] != nil {
					hit = peer == nil
				} else if peer != nil {
					hit = selects(q["podSelector"], peer) && (q["namespaceSelector"] == nil && space == nil ||
						q["namespaceSelector"] != nil && space != nil && selects(q["namespaceSelector"], space))
				}
				for _, n := range ports {
					if hit && fmt.Sprint(n.(map[string]any)["port"]) == strconv.Itoa(port) {
						return true
					}
				}
			}
		}
	}
	return !selected
}

// TestWhoTalks tries every port of every pod from every other: only what must talk talks.
func TestWhoTalks(t *testing.T) {
	for overlay := range overlays {
		all := resources(t, filepath.Join(deployed, "kustomize", "overlays", overlay))
		conf := object{}
		for _, o := range all {
			if o["kind"] == "FlinkDeployment" {
				conf = o.at("spec|flinkConfiguration").(map[string]any)
			}
		}
		number := func(key string) int {
			n, err := strconv.Atoi(conf.text(key))
			if err != nil {
				t.Errorf("%s is not pinned", key)
			}
			return n
		}
		blob, data, rpc, query := number("blob.server.port"), number("taskmanager.data.port"), number("taskmanager.rpc.port"),
			number("metrics.internal.query-service.port")
		const managerRPC, rest, job, artifact = 6123, 8081, 8099, 8098
		open := map[string][]int{"driver>jobserver": {job, artifact}, "jobserver>jobmanager": {rest, blob},
			"taskmanager>jobmanager": {managerRPC, blob}, "jobmanager>taskmanager": {rpc, query}, "taskmanager>taskmanager": {data}}
		pods := podsOf(t, all)
		ports := []int{blob, data, rpc, query, managerRPC, rest, job, artifact, 22, 53, 443}
		for from, f := range pods {
			for to, p := range pods {
				for _, port := range ports {
					got := allows(all, "Egress", "to", f.labels, p.labels, nil, port) &&
						allows(all, "Ingress", "from", p.labels, f.labels, nil, port)
					if want := slices.Contains(open[from+">"+to], port); got != want {
						t.Errorf("%s: %s to port %d of %s: %v", overlay, from, port, to, got)
					}
				}
			}
			stores := from == "driver" || from == "taskmanager"
			if got := allows(all, "Egress", "to", f.labels, nil, nil, 443); got != stores {
				t.Errorf("%s: %s to the store: %v", overlay, from, got)
			}
			if allows(all, "Egress", "to", f.labels, nil, nil, 22) {
				t.Errorf("%s: %s gets out", overlay, from)
			}
			dns := map[string]any{"k8s-app": "kube-dns"}
			if !allows(all, "Egress", "to", f.labels, dns, map[string]any{"kubernetes.io/metadata.name": "kube-system"}, 53) {
				t.Errorf("%s: %s looks no names up", overlay, from)
			}
			operator := map[string]any{"app.kubernetes.io/name": "flink-kubernetes-operator"}
			at := map[string]any{"kubernetes.io/metadata.name": "flink-operator"}
			for _, port := range ports {
				if got := allows(all, "Ingress", "from", f.labels, operator, at, port); got != (from == "jobmanager" && port == rest) {
					t.Errorf("%s: the operator to port %d of %s: %v", overlay, port, from, got)
				}
				for _, stranger := range []map[string]any{{}, {"app.kubernetes.io/component": "driver"}} {
					if allows(all, "Ingress", "from", f.labels, stranger, nil, port) {
						t.Errorf("%s: a stranger %v gets to port %d of %s", overlay, stranger, port, from)
					}
				}
			}
		}
	}
}
