package runners

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
)

// ownAddress is an address of this machine that other machines see, or "".
func ownAddress() string {
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return ""
}

func TestOutputsThatWorkersCannotReach(t *testing.T) {
	const store = "s3://bucket/run"
	process := func(name, endpoint string) Runner {
		return Runner{Name: name, Endpoint: endpoint, Environment: "process", Program: "/opt/adaptflow"}
	}
	d := &Dataflow{Project: "p", Region: "r", StagingLocation: "gs://b", Image: "i"}
	for _, c := range []struct {
		name, output string
		runner       Runner
		err          string
	}{
		{"Prism", store, Runner{Name: "prism"}, ""},
		{"bundles that come back", store, Runner{Name: "flink", Endpoint: "192.0.2.7:8099", Environment: "loopback"}, ""},
		{"workers here", store, process("flink", "localhost:8099"), ""},
		{"workers here, by number", store, process("flink", "127.0.0.1:8099"), ""},
		{"workers here, IPv6", store, process("universal", "[::1]:8099"), ""},
		{"a shared volume", "/data/out", process("flink", "192.0.2.7:8099"), ""},
		{"a shared volume as a URL", "file:///data/out", process("flink", "192.0.2.7:8099"), ""},
		{"no output named", "", process("flink", "192.0.2.7:8099"), ""},
		{"Flink elsewhere", store, process("flink", "192.0.2.7:8099"), "192.0.2.7:8099"},
		{"Spark elsewhere", "gs://b/run", process("spark", "192.0.2.7:8099"), "gs://b/run"},
		{"another server elsewhere", store, process("universal", "[2001:db8::1]:8099"), "do not see"},
		{"a name that is nowhere", store, process("flink", "jobserver.invalid:8099"), "do not see"},
		{"Dataflow, an object store", "gs://b/run", Runner{Name: "dataflow", Dataflow: d}, "this kind of run"},
		{"Dataflow, a dry run", "out", Runner{Name: "dataflow", Dataflow: &Dataflow{DryRun: io.Discard}}, ""},
	} {
		if err := c.runner.CheckOutput(c.output, true); err != nil {
			t.Errorf("%s, of a kind that works at a location: %v", c.name, err)
		}
		err := c.runner.CheckOutput(c.output, false)
		if (err == nil) != (c.err == "") || err != nil && (!strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, output := range []string{"", "out", "file:///out", "s3://b/run"} {
		err := Runner{Name: "dataflow", Dataflow: d}.CheckOutput(output, true)
		if err == nil || !strings.Contains(err.Error(), "--output gs://") || !strings.Contains(err.Error(), "--dry-run") {
			t.Errorf("Dataflow to %q: %v", output, err)
		}
	}
	if own := ownAddress(); own != "" {
		if err := process("flink", net.JoinHostPort(own, "8099")).CheckOutput(store, false); err != nil {
			t.Errorf("%s is this machine's: %v", own, err)
		}
	}
}

func TestSchemesOfARun(t *testing.T) {
	local := &recipe.Recipe{}
	local.Data.Input, local.Data.TextColumn = []string{"corpus/*.jsonl", "file:///x"}, "see s3://docs"
	objects := &recipe.Recipe{}
	objects.Data.GeneralInput = []string{"general.jsonl", "GS://b/general.jsonl"}
	objects.Data.Sources = map[string]any{"de": map[string]any{"input": []any{"s3://b/de-*.jsonl"}}}
	for _, c := range []struct {
		rec    *recipe.Recipe
		output string
		want   string
	}{{local, "out", "[]"}, {local, "s3://b/out", "[s3]"}, {objects, "out", "[gs s3]"}} {
		if got, err := Schemes(c.rec, c.output); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%v, %v, want %s", got, err, c.want)
		}
	}
}

// TestWorkerEnv looks into what a job server is given to start workers with, which it may log, and what a worker then has.
func TestWorkerEnv(t *testing.T) {
	for _, name := range []string{"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "GITHUB_TOKEN", "MY_TOKEN"} {
		t.Setenv(name, "secret")
	}
	t.Setenv("ADAPTFLOW_CACHE", "/c=d")
	t.Setenv("GOMEMLIMIT", "64GiB")
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		runner Runner
		want   map[string]string // beside what is always there
	}{
		{"local files", Runner{Endpoint: "localhost:1"}, nil},
		{"s3", Runner{Endpoint: "localhost:1", Schemes: []string{"s3"}}, map[string]string{"AWS_SECRET_ACCESS_KEY": "secret"}},
		{"gs", Runner{Endpoint: "127.0.0.1:1", Schemes: []string{"gs"}}, map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "secret"}},
		{"s3, workers elsewhere", Runner{Endpoint: "192.0.2.7:1", Schemes: []string{"s3"}}, nil},
		{"asked for", Runner{Endpoint: "192.0.2.7:1", Env: []string{"MY_TOKEN", "AWS_SECRET_ACCESS_KEY=given secret"}},
			map[string]string{"MY_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "given secret"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.runner
			r.Name, r.Environment, r.Program, r.Folder = "flink", "process", "/opt/adaptflow", t.TempDir()
			env, stop, err := environment(context.Background(), r)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(env.String()+string(env.GetPayload()), "secret") {
				t.Error("the job has a secret in it")
			}
			var p pipepb.ProcessPayload
			if err := proto.Unmarshal(env.GetPayload(), &p); err != nil {
				t.Fatal(err)
			}
			got := p.GetEnv()
			if p.GetCommand() != "/opt/adaptflow" || got["ADAPTFLOW_CACHE"] != "/c=d" || got["GOMEMLIMIT"] != "64GiB" ||
				got[workerDir] != dir || got[workerRun] != r.Folder || got["PATH"] != "" {
				t.Errorf("%s %v", p.GetCommand(), got)
			}
			files, _ := filepath.Glob(filepath.Join(r.Folder, ".*"))
			if len(files) != min(1, len(c.want)) || len(files) == 1 && got[workerKept] != files[0] {
				t.Errorf("%v, %s=%s", files, workerKept, got[workerKept])
			}
			for _, f := range files {
				if fi, err := os.Stat(f); err != nil || fi.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
					t.Errorf("%s: %v, %v", f, fi.Mode(), err)
				}
			}
			for _, name := range []string{"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
				"GITHUB_TOKEN", "MY_TOKEN"} {
				t.Setenv(name, "")
			}
			for name, value := range got { // the worker's process
				t.Setenv(name, value)
			}
			t.Chdir(dir)
			if err := enter(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
				"GITHUB_TOKEN", "MY_TOKEN"} {
				if v := os.Getenv(name); v != c.want[name] {
					t.Errorf("a worker has %s=%q, want %q", name, v, c.want[name])
				}
			}
			if stop(); len(files) == 1 {
				if _, err := os.Stat(files[0]); err == nil {
					t.Error("the variables are left when the job has ended")
				}
				// A driver that is killed leaves them to the next one.
				if err := os.WriteFile(files[0], nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if err := storage.Sweep(r.Folder); err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(files[0]); err == nil {
					t.Error("the variables are left by a sweep")
				}
				if err := enter(); err == nil || !strings.Contains(err.Error(), "the variables for workers") {
					t.Errorf("without the file: %v", err)
				}
			}
		})
	}
}

// TestMemoryOfWorkersElsewhere: the limit of the driver's container is not that of the workers'.
func TestMemoryOfWorkersElsewhere(t *testing.T) {
	for _, c := range []struct {
		runner Runner
		want   string
	}{
		{Runner{Endpoint: "192.0.2.7:1", Afar: true}, ""},
		{Runner{Endpoint: "localhost:1", Afar: true}, "4GiB"},
		{Runner{Endpoint: "192.0.2.7:1"}, "4GiB"},
		{Runner{Endpoint: "192.0.2.7:1", Afar: true, Env: []string{"GOMEMLIMIT=2GiB"}}, "2GiB"},
	} {
		c.runner.Folder = t.TempDir()
		env, done, err := workerEnv([]string{"GOMEMLIMIT=4GiB"}, c.runner)
		if err != nil {
			t.Fatal(err)
		}
		done()
		// What is asked for may stand in the kept file.
		if got := env["GOMEMLIMIT"]; got != c.want && (len(c.runner.Env) == 0 || got != "") {
			t.Errorf("%+v: GOMEMLIMIT=%q, want %q", c.runner, got, c.want)
		}
	}
}

func TestAWorkerSeesTheRunsFolder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv(workerDir, dir)
	t.Setenv(workerRun, dir)
	if err := enter(); err != nil {
		t.Error(err)
	}
	t.Setenv(workerRun, filepath.Join(dir, "elsewhere"))
	f := workerFlags{worker: true, id: "1", logging: "localhost:1", control: "localhost:1"}
	if err := f.serve(context.Background()); err == nil || !strings.Contains(err.Error(), "the run's folder is not on this machine") {
		t.Errorf("%v", err)
	}
}
