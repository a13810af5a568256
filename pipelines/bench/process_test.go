package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
)

// TestBenchmarksStartProcessesWithoutSecrets: what a bench starts again is this program, here a stand-in that tells its environment.
func TestBenchmarksStartProcessesWithoutSecrets(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in is a shell script")
	}
	t.Setenv("HF_TOKEN", "secret")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("GOMEMLIMIT", "64GiB")
	script := filepath.Join(t.TempDir(), "self")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"[$HF_TOKEN][$AWS_SECRET_ACCESS_KEY][$GOMEMLIMIT][$ADAPTFLOW_CACHE]\" "+
		">&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Started(script).train(context.Background(), TrainConfig{}, "ADAPTFLOW_CACHE=/cache")
	if err == nil || !strings.Contains(err.Error(), "[][][64GiB][/cache]") {
		t.Errorf("%v", err)
	}
}

// TestAProcessOfItsOwnMeasuresTheSame: this test's program is the child.
func TestAProcessOfItsOwnMeasuresTheSame(t *testing.T) {
	if os.Getenv("ADAPTFLOW_BENCH_CHILD") != "" {
		if err := Child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	c := TrainConfig{ConfigPath: filepath.Join(drivetest.Model(t, "llama_gqa"), "config.json"), Method: "LORA",
		Options: map[string]any{"r": 2, "target_modules": "all-linear"},
		Batch:   1, Seq: 8, Steps: 2, Warmup: 1, Threads: 1, Checkpoint: nn.CheckpointAll}
	here, err := Train(c)
	if err != nil {
		t.Fatal(err)
	}
	own := Started(os.Args[0], "-test.run=^TestAProcessOfItsOwnMeasuresTheSame$")
	there, err := own.train(context.Background(), c, "ADAPTFLOW_BENCH_CHILD=1")
	if err != nil {
		t.Fatal(err)
	}
	if there.Loss != here.Loss || there.Trainable != here.Trainable || there.State != here.State || len(there.StepSeconds) != 2 ||
		there.PeakRSS == 0 {
		t.Errorf("here %+v, in a process of its own %+v", *here, *there)
	}
	c.Method = "none such"
	if _, err := own.train(context.Background(), c, "ADAPTFLOW_BENCH_CHILD=1"); err == nil || !strings.Contains(err.Error(), "none such") {
		t.Errorf("an unknown method: %v", err)
	}
	if _, err := Program(nil).train(context.Background(), c); err == nil || !strings.Contains(err.Error(), "Program") {
		t.Errorf("without a program: %v", err)
	}
	for _, line := range []string{"", "{}\n", "train\n"} {
		if err := Child(strings.NewReader(line), io.Discard); err == nil {
			t.Errorf("%q was taken for a task", line)
		}
	}
}
