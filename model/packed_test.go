package model_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// packedFiles are the files of packed weights in the cache.
func packedFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.Getenv("ADAPTFLOW_CACHE"), "weights", "*", "*.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPackedWeights checks that every model's losses and gradients are the same bits wherever its weights lie, when their file is written
// and when it is read.
func TestPackedWeights(t *testing.T) {
	for _, name := range golden.Dirs(t, filepath.Join("testdata", "models")) {
		for _, values := range []string{"float32", "bfloat16", "float32+nf4"} {
			t.Run(name+" "+values, func(t *testing.T) {
				t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
				dir := filepath.Join("testdata", "models", name)
				b := golden.Open(t, filepath.Join(dir, "inputs.safetensors")).Batch("")
				s, _ := nn.FromBatch(b.IDs, b.Mask, b.Labels, b.B, b.T)
				run := func(storage string) (float64, map[string][]float32, *model.Model) {
					m, err := model.LoadAs(dir, storage)
					if errors.Is(err, errors.ErrUnsupported) {
						t.Skip(err)
					}
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { m.Close() })
					loss, grads := trained(t, m, s, nn.Options{Checkpoint: nn.CheckpointAll})
					return loss, grads, m
				}
				loss, want, whole := run(values)
				for _, place := range []string{"@mapped", "@mapped", "@streamed"} {
					l, got, m := run(values + place)
					if l != loss || !maps.EqualFunc(got, want, slices.Equal) {
						t.Errorf("%s: other losses or gradients", place)
					}
					if files := packedFiles(t); len(files) != 1 {
						t.Errorf("%s: the cache holds %v", place, files)
					}
					// A tied embedding is the only dense matrix beside quantised projections: all of what is streamed.
					less := place == "@streamed" && (values != "float32+nf4" || !m.Config.Tied)
					if m.Bytes() != whole.Bytes() || less != (m.Resident() < whole.Resident()) {
						t.Errorf("%s: %d bytes, %d resident; in memory %d, %d", place, m.Bytes(), m.Resident(),
							whole.Bytes(), whole.Resident())
					}
				}
			})
		}
	}
}

// TestPackedAtOnce opens a model from several goroutines: one writes the file, and all read the same.
func TestPackedAtOnce(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m, err := model.LoadAs(filepath.Join("testdata", "models", "llama_gqa"), "float32@mapped")
			if errors.Is(err, errors.ErrUnsupported) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			m.Close()
		})
	}
	wg.Wait()
	if files := packedFiles(t); len(files) > 1 {
		t.Errorf("the cache holds %v", files)
	}
}

// TestPackedDamaged refuses a file that was cut, and says what to do.
func TestPackedDamaged(t *testing.T) {
	t.Setenv("ADAPTFLOW_CACHE", t.TempDir())
	dir := filepath.Join("testdata", "models", "llama_gqa")
	m, err := model.LoadAs(dir, "bfloat16@mapped")
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	file := packedFiles(t)[0]
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, st.Size()-64); err != nil {
		t.Fatal(err)
	}
	if _, err := model.LoadAs(dir, "bfloat16@mapped"); err == nil || !strings.Contains(err.Error(), "delete it") ||
		!strings.Contains(err.Error(), file) {
		t.Errorf("a truncated file: %v", err)
	}
	if _, err := model.LoadAs(dir, "bfloat16@elsewhere"); err == nil || !strings.Contains(err.Error(), "mapped, streamed or reread") {
		t.Errorf("a place that is none: %v", err)
	}
}
