package ggml

import (
	"bytes"
	"math"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// reference opens ggml's own blocks of the rows x: see testdata/gguf/quant_blocks.py.
func reference(t testing.TB) (f *safetensors.File, x []float32) {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(golden.Root(t, "testdata"), "gguf", "quant_blocks.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if x, err = f.Float32("x"); err != nil {
		t.Fatal(err)
	}
	return f, x
}

// exact are the types of which every block that is written is ggml's.
var exact = map[Type]bool{Q4_0: true, Q4_1: true, Q5_0: true, Q5_1: true, Q8_0: true}

// TestBlocks: every type of the table that ggml quantises is read bit by bit as ggml reads it, and written as ggml writes it.
func TestBlocks(t *testing.T) {
	ref, x := reference(t)
	tried := 0
	for _, f := range Formats {
		if f.Read == nil || f.Block == 1 {
			continue
		}
		tried++
		want, err := ref.Bytes(f.Name + ".bytes")
		if err != nil {
			t.Fatal(err)
		}
		values, err := ref.Float32(f.Name + ".values")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]float32, len(x))
		f.Read(got, want)
		for i, v := range got {
			if math.Float32bits(v) != math.Float32bits(values[i]) {
				t.Fatalf("%s: value %d is %v, of ggml %v", f.Name, i, v, values[i])
			}
		}
		b := make([]byte, f.Size(len(x)))
		f.Write(b, x)
		n, same := len(b)/f.Bytes, 0
		for i := range n {
			if bytes.Equal(b[i*f.Bytes:][:f.Bytes], want[i*f.Bytes:][:f.Bytes]) {
				same++
			} else if exact[f.Type] {
				t.Errorf("%s: block %d is % x, of ggml % x", f.Name, i, b[i*f.Bytes:][:f.Bytes], want[i*f.Bytes:][:f.Bytes])
			}
		}
		f.Read(got, b)
		ours, ggmls := rms(got, x), rms(values, x)
		t.Logf("%s: %d of %d blocks are ggml's; error %.7f, ggml's %.7f", f.Name, same, n, ours, ggmls)
		if float64(same) < 0.999*float64(n) || ours > ggmls*(1+1e-9) {
			t.Errorf("%s: %d of %d blocks are ggml's, the error is %.9f and ggml's %.9f", f.Name, same, n, ours, ggmls)
		}
	}
	if tried != 10 {
		t.Errorf("%d types were tried, want 10", tried)
	}
}

func rms(a, b []float32) float64 {
	var sum float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}
