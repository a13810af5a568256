package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"

	"github.com/adaptflow/adaptflow/datasets"
)

// TestRunsOfTheVersionBefore: an output folder that version 0.1 began (testdata/before, by the program of commit 0d9ee28 with cmd.sh, cut
// back to its first checkpoint) goes on as that version did, and ends with the bytes that it gave; from its shards, and from its recipe
// alone, too. A run that begins now puts no bos_token before a text and eos_token after it.
func TestRunsOfTheVersionBefore(t *testing.T) {
	if runtime.GOARCH != "amd64" || !cpu.X86.HasAVX2 || !cpu.X86.HasFMA {
		t.Skip("the bytes are those of the kernel set avx2")
	}
	const from = "testdata/before"
	script, err := os.ReadFile(filepath.Join(from, "cmd.sh"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(script), "adaptflow run ")
	args := []string{"run"}
	for _, a := range strings.Fields(strings.ReplaceAll(line, "\\\n", " ")) {
		args = append(args, strings.ReplaceAll(a, "'", ""))
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	const shard = "shards/train-00000-of-00001.parquet"
	for _, c := range []struct {
		name    string
		says    string
		before  bool
		without []string
	}{
		{name: "from a checkpoint", says: "continuing from", before: true},
		{name: "from its shards", before: true, without: []string{"checkpoints"}},
		{name: "from its recipe", before: true, without: []string{"checkpoints", "shards", "stages", "eval"}},
		{name: "from shards whose manifest does not say it", before: true,
			without: []string{"checkpoints", "recipe.resolved.yaml", "stages/prepare-domain.json"}},
		{name: "anew", without: []string{"."}},
	} {
		dir := t.TempDir()
		for _, f := range []string{"in.jsonl", "held.jsonl"} {
			if err := os.WriteFile(filepath.Join(dir, f), read(filepath.Join(from, f)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(dir, "out")
		if err := os.CopyFS(out, os.DirFS(filepath.Join(from, "run"))); err != nil {
			t.Fatal(err)
		}
		start := func() string {
			t.Helper()
			cmd := adaptflow(args...)
			cmd.Dir = dir
			cmd.Env = append(cmd.Env, "ADAPTFLOW_KERNELS=avx2")
			code, _, stderr := ended(t, cmd)
			if code != 0 {
				t.Fatalf("%s: exit %d\n%s", c.name, code, stderr)
			}
			return stderr
		}
		text := read(filepath.Join(out, "recipe.resolved.yaml"))
		for _, f := range c.without {
			if err := os.RemoveAll(filepath.Join(out, f)); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasPrefix(c.name, "from shards whose") { // the recipe is of now
			other := filepath.Join(dir, "other")
			if err := os.Rename(out, other); err != nil {
				t.Fatal(err)
			}
			start()
			text = read(filepath.Join(out, "recipe.resolved.yaml"))
			if err := os.RemoveAll(out); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(other, out); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(out, "recipe.resolved.yaml"), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		stderr := start()
		if !strings.Contains(stderr, c.says) {
			t.Errorf("%s: it does not say %q:\n%s", c.name, c.says, stderr)
		}
		for _, f := range []struct{ got, want string }{{"adapter/adapter_model.safetensors", "want/adapter_model.safetensors"},
			{"stages/after.json", "want/after.json"},
			{shard, "run/" + shard}, {"eval/domain/train-00000-of-00001.parquet", "run/eval/domain/train-00000-of-00001.parquet"}} {
			if same := bytes.Equal(read(filepath.Join(out, f.got)), read(filepath.Join(from, f.want))); same != c.before {
				t.Errorf("%s: %s: the same as version 0.1 gave: %v", c.name, f.got, same)
			}
		}
		if same := bytes.Equal(read(filepath.Join(out, "recipe.resolved.yaml")), text); same != c.before {
			t.Errorf("%s: the recipe is the same: %v", c.name, same)
		}
		m, err := datasets.ReadManifest(filepath.Join(out, "shards"))
		if err != nil || c.before != (m.AddBOS == nil && m.AddEOS == nil) || !c.before && (*m.AddBOS || !*m.AddEOS) {
			t.Errorf("%s: the manifest says %v, %v; %v", c.name, m.AddBOS, m.AddEOS, err)
		}
	}
}
