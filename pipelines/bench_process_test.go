package pipelines

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
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
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho \"[$HF_TOKEN][$AWS_SECRET_ACCESS_KEY][$GOMEMLIMIT][$ADAPTFLOW_CACHE]\" >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := BenchTrainConfig{}.inProcess(context.Background(), script, "ADAPTFLOW_CACHE=/cache")
	if err == nil || !strings.Contains(err.Error(), "[][][64GiB][/cache]") {
		t.Errorf("%v", err)
	}
}
