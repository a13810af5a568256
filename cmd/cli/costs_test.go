package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/run"
)

// TestPlanInput: plan --input-bytes says what preparing costs, without input; what is wrong with its flags is said in words.
func TestPlanInput(t *testing.T) {
	plan := func(args ...string) (string, int) {
		c := adaptflow(append([]string{"plan", "domain-adaptation"}, args...)...)
		out, err := c.CombinedOutput()
		if err == nil {
			return string(out), 0
		}
		return string(out), c.ProcessState.ExitCode()
	}
	var small, large run.Costs
	for text, to := range map[string]*run.Costs{"1GB": &small, "1TB": &large} {
		out, code := plan("--input-bytes", text, "--workers", "100", "--set", "prepare.dedupe=[minhash]", "--json")
		if err := json.Unmarshal([]byte(out), to); err != nil || code != 0 || len(to.Jobs) != 4 || to.Workers != 100 {
			t.Fatalf("%d: %v: %s", code, err, out)
		}
	}
	if a, b := small.Total, large.Total; b.Opens < 20*a.Opens || b.Opens > 2000*a.Opens || b.Read > 3000*a.Read || b.Graph > 2*a.Graph {
		t.Errorf("%+v of 1 GB, %+v of 1 TB", a, b)
	}
	if out, code := plan("--input-bytes", "1TB", "--workers", "100"); code != 0 || !strings.Contains(out, "each of 100 workers: ") ||
		!strings.Contains(out, "adaptflow-pack") {
		t.Errorf("%d: %s", code, out)
	}
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--input-bytes", "much"}, "not a size"}, {[]string{"--input-bytes", "1TB", "--workers", "1,2"}, "give one number"},
		{[]string{"--input-bytes", "1TB", "--bytes-per-token", "0"}, "above 0"}} {
		if out, code := plan(c.args...); code != 2 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, want 2 and %q: %s", c.args, code, c.want, out)
		}
	}
}
