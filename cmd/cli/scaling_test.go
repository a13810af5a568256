package cli

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/bench"
	"github.com/adaptflow/adaptflow/pipelines/run"
)

// What real processes write and read in rounds is what the scaling model predicts.
func TestScalingOfRealProcesses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts the bytes of a process")
	}
	for _, more := range [][]string{nil, {"--set", "train.mode=local", "--set", "train.local_steps=2", "--set", "train.compression=int8"}} {
		c := adaptflow(append([]string{"bench", "scaling", "--json", "--workers", "1,2", "--set", "steps=6", "--set", "save_steps=4",
			"--set", "batch_size=1",
			"--set", "sequence_length=32"}, more...)...)
		c.Env = append(c.Env, "TMPDIR="+t.TempDir())
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
		}
		var r bench.ScalingResult
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatal(err)
		}
		if len(r.Rows) != 2 || r.Rows[0].Driver != nil || r.Rows[1].Driver == nil {
			t.Fatalf("%s", out)
		}
		near := func(what string, m *bench.MeasuredProcess, slack float64) {
			t.Helper()
			if off := math.Abs(float64(m.Written - m.PredictedWritten)); off > slack {
				t.Errorf("%v: %s wrote %d bytes, predicted %d", more, what, m.Written, m.PredictedWritten)
			}
			// The kernel counts what is read of /proc, and the headers of Parquet files are read again.
			if off := math.Abs(float64(m.Read - m.PredictedRead)); off > slack+65536 {
				t.Errorf("%v: %s read %d bytes, predicted %d", more, what, m.Read, m.PredictedRead)
			}
			if m.CPU <= 0 || m.Peak < 1<<20 {
				t.Errorf("%v: %s: %+v", more, what, m)
			}
		}
		// A checkpoint's own JSON is not predicted to the byte.
		near("one worker", &r.Rows[0].Worker, 4096)
		near("a worker of two", &r.Rows[1].Worker, 256)
		near("the driver", r.Rows[1].Driver, 8192)
	}
}

func TestPlanWorkers(t *testing.T) {
	plan := func(args ...string) (string, int) {
		c := adaptflow(append([]string{"plan", "domain-adaptation"}, args...)...)
		out, err := c.CombinedOutput()
		if err == nil {
			return string(out), 0
		}
		return string(out), c.ProcessState.ExitCode()
	}
	out, code := plan("--workers", "1,1024", "--set", "train.optimizer_shards=8", "--json")
	var p run.ScalingPlan
	if err := json.Unmarshal([]byte(out), &p); code != 0 || err != nil || len(p.Plans) != 2 || p.Plans[1].Workers != 1024 ||
		p.Plans[1].Rounds != 200 || p.Plans[1].Sent <= p.Plans[0].Sent {
		t.Errorf("%d: %v: %s", code, err, out)
	}
	if out, code = plan("--workers", "8"); code != 0 || !strings.Contains(out, "workers") ||
		!strings.Contains(out, "\n        8     200 ") {
		t.Errorf("%d: %s", code, out)
	}
	broken := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(broken, []byte(`{"threads": 1}`), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--workers", "0"}, "from 1 to"}, {[]string{"--workers", "4", "--constants", broken}, broken + ": flops_per_second is 0"},
		{[]string{"--workers", "4", "--constants", broken + "x"}, "no such file"}} {
		if out, code := plan(c.args...); code != 2 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, want 2 and %q: %s", c.args, code, c.want, out)
		}
	}
	if out, code := plan("--workers", "4", "--set", "train.max_steps=-1"); code != 1 || !strings.Contains(out, "set steps") {
		t.Errorf("steps that the data tells: exit code %d: %s", code, out)
	}
}
