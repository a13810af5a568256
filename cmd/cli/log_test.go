package cli

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/pipelines/run"
)

// TestStructuredLog: with --log-format json every line of stderr is an object that names the run; training tells its numbers by
// themselves; an error is one, too.
func TestStructuredLog(t *testing.T) {
	b := &desk{t, t.TempDir()}
	in := b.corpus(60)
	for _, c := range []struct {
		name string
		args []string
		code int
		last string
	}{
		{"a run", []string{"--set", "steps=2", "--set", "train.logging_steps=1"}, 0, "the run is finished"},
		{"an error", []string{"--set", "steps=2", "--set", "train.lora_alpah=1"}, 2, "lora_alpah"},
	} {
		out := b.path(strings.ReplaceAll(c.name, " ", "-"))
		cmd := adaptflow(append([]string{"run", "domain-adaptation", "--log-format", "json", "--output", out, "--set", "input=" + in,
			"--set", "general_input=" + in, "--set", "sequence_length=32", "--set", "batch_size=1"}, c.args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Fatalf("%s: exit code %d: %s", c.name, got, stderr.String())
		}
		id, err := run.ID(out)
		if err != nil {
			t.Fatal(err)
		}
		steps := 0
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		for i, line := range lines {
			var l struct {
				Time       time.Time
				Level, Msg string
				Run        string
				Step       int
				Loss       float64
				MaxSteps   int `json:"max_steps"`
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatalf("%s: %q: %v", c.name, line, err)
			}
			if c.code == 0 && l.Run != id || l.Time.IsZero() || l.Level == "" || l.Msg == "" {
				t.Errorf("%s: %q of the run %s", c.name, line, id)
			}
			if l.Msg == "step" && l.Loss > 0 && l.MaxSteps == 2 {
				steps += l.Step
			}
			if i == len(lines)-1 && (!strings.Contains(l.Msg, c.last) || (l.Level == "ERROR") != (c.code != 0)) {
				t.Errorf("%s: the last line is %q", c.name, line)
			}
		}
		if c.code == 0 && steps != 1+2 {
			t.Errorf("%s: the steps told add up to %d:\n%s", c.name, steps, stderr.String())
		}
	}
}

// TestLibrariesAreSilent: what a store's library would tell of its own is not a line beside the error.
func TestLibrariesAreSilent(t *testing.T) {
	storagetest.HideSettings(t)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer refuses.Close()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", refuses.URL)
	t.Setenv("AWS_REGION", "us-east-1")
	code, _, stderr := ended(t, adaptflow("run", "domain-adaptation", "--output", "s3://bucket/out"))
	if line := errorLine(t, stderr); code != 1 || !strings.Contains(line, "credentials") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}
