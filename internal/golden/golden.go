// Package golden finds reference data of the real libraries and compares with it, in tests.
//
// Every package keeps small copies in its testdata; ADAPTFLOW_GOLDEN points to the whole folder.
package golden

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// Root is the folder of reference data: $ADAPTFLOW_GOLDEN, or fallback within the package.
func Root(t testing.TB, fallback string) string {
	t.Helper()
	dir := os.Getenv("ADAPTFLOW_GOLDEN")
	if dir == "" {
		return fallback
	}
	return Resolve(t, dir)
}

// Resolve finds a folder that an environment variable names: as it is, or relative to a folder above the package.
func Resolve(t testing.TB, dir string) string {
	t.Helper()
	if filepath.IsAbs(dir) {
		return dir
	}
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			if p := filepath.Join(at, dir); exists(p) {
				return p
			}
		}
		if p := filepath.Join(at, dir); exists(p) {
			return p
		}
		up := filepath.Dir(at)
		if up == at {
			t.Fatalf("no folder %s here or above", dir)
		}
		at = up
	}
}

func exists(p string) bool { _, err := os.Stat(p); return err == nil }

// Dirs returns the names of the folders in dir, sorted.
func Dirs(t testing.TB, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// JSON reads a JSON file.
func JSON[V any](t testing.TB, path string) V {
	t.Helper()
	var v V
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// File is an open safetensors file whose errors end the test.
type File struct {
	*safetensors.File
	t testing.TB
}

// Open opens a safetensors file for the length of the test.
func Open(t testing.TB, path string) File {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return File{f, t}
}

// Has says whether the file holds a tensor.
func (f File) Has(name string) bool { _, ok := f.Info(name); return ok }

// Shape is a tensor's shape.
func (f File) Shape(name string) []int {
	f.t.Helper()
	i, ok := f.Info(name)
	if !ok {
		f.t.Fatalf("no tensor %q", name)
	}
	return i.Shape
}

// F32 reads a floating-point tensor.
func (f File) F32(name string) []float32 {
	f.t.Helper()
	x, err := f.File.Float32(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// I64 reads an integer tensor.
func (f File) I64(name string) []int64 {
	f.t.Helper()
	x, err := f.File.Int64(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// U8 reads a tensor of bytes.
func (f File) U8(name string) []uint8 {
	f.t.Helper()
	x, err := f.File.Bytes(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return x
}

// MaxDiff is the largest absolute difference; NaN and unequal lengths count as infinite.
func MaxDiff(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	d := 0.0
	for i := range a {
		v := math.Abs(float64(a[i]) - float64(b[i]))
		if v != v {
			return math.Inf(1)
		}
		d = max(d, v)
	}
	return d
}

// RelDiff is MaxDiff relative to the largest value of b, or MaxDiff itself when b is zero.
func RelDiff(a, b []float32) float64 {
	m := 0.0
	for _, v := range b {
		m = max(m, math.Abs(float64(v)))
	}
	d := MaxDiff(a, b)
	if m > 0 {
		return d / m
	}
	return d
}

// Batch is a padded batch [B, T] of the reference data.
type Batch struct {
	IDs, Mask, Positions, Labels []int64 // Positions and Labels may be nil
	B, T                         int
}

// Batch reads input_ids, attention_mask and, where there, position_ids and labels, all with the given prefix.
func (f File) Batch(prefix string) Batch {
	f.t.Helper()
	s := f.Shape(prefix + "input_ids")
	b := Batch{IDs: f.I64(prefix + "input_ids"), Mask: f.I64(prefix + "attention_mask"), B: s[0], T: s[1]}
	if f.Has(prefix + "position_ids") {
		b.Positions = f.I64(prefix + "position_ids")
	}
	if f.Has(prefix + "labels") {
		b.Labels = f.I64(prefix + "labels")
	}
	return b
}

// Row cuts rows [lo, hi) out of the batch.
func (b Batch) Row(lo, hi int) Batch {
	cut := func(x []int64) []int64 {
		if x == nil {
			return nil
		}
		return x[lo*b.T : hi*b.T]
	}
	return Batch{IDs: cut(b.IDs), Mask: cut(b.Mask), Positions: cut(b.Positions), Labels: cut(b.Labels), B: hi - lo, T: b.T}
}
