package export

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/storage/storagetest"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/transforms/remote/objects"
)

// TestNumbersThatAreNone: results before training in which a measure found no number travel with the job.
func TestNumbersThatAreNone(t *testing.T) {
	before := &measure.Results{More: map[string][]measure.Line{"own": {{Numbers: measure.Numbers{"most": math.NaN()}}}}}
	p, s := beam.NewPipelineWithRoot()
	if _, err := Write(s, Job{Before: before, Output: "here"}, beam.Create(s, "")); err != nil {
		t.Fatal(err)
	}
	edges, _, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edges {
		if e.DoFn == nil || e.DoFn.Recv == nil {
			continue
		}
		f, ours := e.DoFn.Recv.(*WriteFn)
		if !ours {
			continue
		}
		var j Job
		if err := json.Unmarshal([]byte(f.Job), &j); err != nil || !strings.Contains(f.Job, `"most":null`) {
			t.Fatal(f.Job, err)
		}
		if n := j.Before.More["own"][0].Numbers["most"]; !math.IsNaN(n) || j.Output != "here" {
			t.Errorf("%+v", j)
		}
		return
	}
	t.Error("nothing writes")
}

// TestCopy: an attempt that fails halfway leaves what another has written, and one that does not leaves its own files alone.
func TestCopy(t *testing.T) {
	objects.Register()
	storagetest.StartS3(t, "bucket")
	storagetest.StartGCS(t, "bucket")
	for _, output := range []string{"s3://bucket/run", "gs://bucket/run/"} {
		j := Job{Output: output}
		here := t.TempDir()
		put := func(name, text string) {
			path := filepath.Join(here, "adapter", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		has := func(want ...string) {
			t.Helper()
			var got []string
			if err := storage.List(t.Context(), output, func(i storage.Info) error {
				got = append(got, strings.TrimPrefix(i.URI, strings.TrimRight(output, "/")+"/"))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s has %v, want %v", output, got, want)
			}
		}
		if err := storage.WriteFile(storage.Join(output, "metrics.json"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		put("a.json", "one")
		put("old/c.json", "of before")
		if err := j.copy(t.Context(), here); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(here, "adapter", "old")); err != nil {
			t.Fatal(err)
		}
		put("d.json", "new")
		missing := filepath.Join(here, "adapter", "b.json")
		if err := os.Symlink("nowhere", missing); err != nil {
			t.Fatal(err)
		}
		if err := j.copy(t.Context(), here); err == nil {
			t.Fatal("a file that is not there was copied")
		}
		has("adapter/a.json", "adapter/old/c.json", "metrics.json")
		if err := os.Remove(missing); err != nil {
			t.Fatal(err)
		}
		if err := j.copy(t.Context(), here); err != nil {
			t.Fatal(err)
		}
		has("adapter/a.json", "adapter/d.json", "metrics.json")
	}
}
