package train

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestTidy: a machine's copies of a job that nobody has worked on for long go; those of others and its own stay.
func TestTidy(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	dirs := map[string]time.Duration{"s3://b/own": 30 * 24 * time.Hour, "s3://b/old": 8 * 24 * time.Hour, "s3://b/new": time.Hour}
	for location, age := range dirs {
		dir, err := Job{Location: location}.Place()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "checkpoint-000001"), 0o700); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	j, err := Job{Location: "s3://b/own"}.here()
	if err != nil {
		t.Fatal(err)
	}
	j.tidy()
	for location := range dirs {
		dir, _ := Job{Location: location}.Place()
		if _, err := os.Stat(dir); (err == nil) != (location != "s3://b/old") {
			t.Errorf("%s: %v", location, err)
		}
	}
	if _, err := (Job{Location: "s3://b/own", Dir: "/elsewhere"}).here(); err == nil {
		t.Error("a job with a folder and a location was taken")
	}
}
