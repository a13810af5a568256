package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
)

// TestObjectStore: input and output on an S3 server give the adapter and the shards that folders give; what is finished is seen from
// another machine; what is wrong is one clear line.
func TestObjectStore(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	storagetest.StartS3(t, "bucket")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	b := &desk{t, t.TempDir()}
	text := b.corpus(20)
	raw, err := os.ReadFile(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.WriteFile("s3://bucket/in/corpus.jsonl", raw); err != nil {
		t.Fatal(err)
	}
	cache := func(name string, c *exec.Cmd) *exec.Cmd {
		c.Env = append(c.Env, "ADAPTFLOW_CACHE="+b.path(name))
		return c
	}
	adapt := func(input, output string) *exec.Cmd {
		return adaptflow(append([]string{"run", "domain-adaptation", "--output", output}, set("input="+input)...)...)
	}
	want := b.path("out")
	for _, c := range []*exec.Cmd{adapt(text, want), cache("one", adapt("s3://bucket/in/*.jsonl", "s3://bucket/out/run"))} {
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	sum := func(p string) string {
		t.Helper()
		h, err := storage.SHA256File(p)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if a, b := sum(filepath.Join(want, "adapter", peft.TensorFile)), sum("s3://bucket/out/run/adapter/"+peft.TensorFile); a != b {
		t.Errorf("the adapter is another on the object store")
	}
	local, err := datasets.ReadManifest(filepath.Join(want, "shards"))
	if err != nil {
		t.Fatal(err)
	}
	there, err := datasets.ReadManifest("s3://bucket/out/run/shards")
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range there.Train {
		if x.SHA256 != local.Train[i].SHA256 || !strings.Contains(x.Path, x.SHA256[:12]) ||
			sum("s3://bucket/out/run/shards/"+x.Path) != x.SHA256 {
			t.Errorf("%+v, on a disk %+v", x, local.Train[i])
		}
	}
	m := report.Metrics{}
	if raw, err = storage.ReadFile("s3://bucket/out/run/metrics.json"); err != nil || json.Unmarshal(raw, &m) != nil {
		t.Fatal(err)
	}
	for _, p := range m.Paths {
		if _, err := storage.Glob("s3://bucket/out/run/" + p + "*"); err != nil {
			if _, err := storage.Glob("s3://bucket/out/run/" + p + "/*"); err != nil {
				t.Errorf("%s is named in metrics.json: %v", p, err)
			}
		}
	}
	out, err := cache("two", adapt("s3://bucket/in/*.jsonl", "s3://bucket/out/run")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "this run is finished: s3://bucket/out/run") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = adaptflow("inspect", "s3://bucket/out/run/shards").CombinedOutput(); err != nil ||
		!strings.Contains(string(out), "tokens of corpus.jsonl") {
		t.Errorf("%v: %s", err, out)
	}
	for _, c := range []struct {
		name, input, output, key, want string
		code                           int
	}{
		{"no credentials", "s3://bucket/in/*", b.path("a"), "", "no AWS credentials were found: set AWS_ACCESS_KEY_ID", 1},
		{"no bucket of the input", "s3://nothere/*", b.path("b"), "key", "input s3://nothere/*: there is no bucket nothere", 1},
		{"no object", "s3://bucket/in/none.txt", b.path("c"), "key", "input s3://bucket/in/none.txt: no file matches", 1},
		{"a folder", "s3://bucket/in", b.path("d"), "key", "is a folder; name the objects in it, as s3://bucket/in/*", 1},
		{"no bucket of the output", text, "s3://nothere/out", "key", "there is no bucket nothere", 1},
		{"another recipe", text, "s3://bucket/out/run", "key", "another recipe", 2},
		{"a scheme nobody serves", "hdfs://host/x", b.path("e"), "key", "hdfs:// is unknown here (known: local paths, gs://, s3://)", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := cache("three", adapt(c.input, c.output))
			cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+c.key, "AWS_SECRET_ACCESS_KEY="+c.key)
			out, _ := cmd.CombinedOutput()
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			last := lines[len(lines)-1]
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.HasPrefix(last, "adaptflow: ") ||
				!strings.Contains(last, c.want) || strings.Contains(string(out), "goroutine ") {
				t.Errorf("code %d: %s", code, out)
			}
		})
	}
}
