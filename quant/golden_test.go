package quant

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/kernels"
)

// TestGoldenCodes compares the code books with bitsandbytes'.
func TestGoldenCodes(t *testing.T) {
	f := golden.Open(t, filepath.Join(golden.Root(t, "testdata"), "quant", "codes.safetensors"))
	for name, got := range map[string][]float32{"nf4": NF4.Values[:], "fp4": FP4.Values[:], "dynamic_map_signed": DynamicMap(true)[:], "dynamic_map_unsigned": DynamicMap(false)[:]} {
		if want := f.F32(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestGoldenQuant quantises matrices: packed bytes, scales and dequantised values are bitsandbytes', bit for bit.
func TestGoldenQuant(t *testing.T) {
	dir := filepath.Join(golden.Root(t, "testdata"), "quant", "4bit")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, e := range files {
		name, ok := strings.CutSuffix(e.Name(), ".safetensors")
		if !ok {
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			f := golden.Open(t, filepath.Join(dir, e.Name()))
			code := NF4
			if strings.Contains(name, "fp4") {
				code = FP4
			}
			block := 64
			if strings.Contains(name, "bs128") {
				block = 128
			}
			shape := f.Shape("weight")
			if len(shape) == 1 {
				shape = []int{1, shape[0]}
			}
			double := f.Has("nested_absmax")
			q := Quantize4(code, f.F32("weight"), shape[0], shape[1], block, double)
			if want := f.U8("packed"); !slices.Equal(q.Packed, want) {
				for i := range want {
					if q.Packed[i] != want[i] {
						t.Fatalf("byte %d is %02x, want %02x (values %g, %g)", i, q.Packed[i], want[i], f.F32("weight")[2*i], f.F32("weight")[2*i+1])
					}
				}
			}
			if double {
				if !slices.Equal(q.Nested.Codes, f.U8("absmax")) || !slices.Equal(q.Nested.Absmax, f.F32("nested_absmax")) || q.Nested.Offset != f.F32("offset")[0] {
					t.Errorf("scales: offset %v, want %v; largest %v, want %v; codes equal: %v", q.Nested.Offset, f.F32("offset")[0], q.Nested.Absmax, f.F32("nested_absmax"),
						slices.Equal(q.Nested.Codes, f.U8("absmax")))
				}
				for i, w := range f.F32("absmax_dequantized") {
					if q.scale(i) != w {
						t.Fatalf("scale %d is %g, want %g", i, q.scale(i), w)
					}
				}
			} else if !slices.Equal(q.Absmax, f.F32("absmax")) {
				t.Error("other scales")
			}
			got := make([]float32, shape[0]*shape[1])
			q.Dense(got)
			if strings.HasSuffix(name, "_bf16") {
				kernels.RoundBF16(nil, got)
			}
			if want := f.F32("dequantized"); !slices.Equal(got, want) {
				t.Errorf("dequantised values differ by up to %g", golden.MaxDiff(got, want))
			}
		})
	}
	t.Logf("4-bit matrices: %d cases ran, out of scope: [int8 (LLM.int8)]", ran)
	if ran == 0 {
		t.Error("no case ran")
	}
}

// TestGoldenBlockwise8 quantises vectors to 8 bits.
func TestGoldenBlockwise8(t *testing.T) {
	for _, signed := range []bool{true, false} {
		name := map[bool]string{true: "signed", false: "unsigned"}[signed]
		f := golden.Open(t, filepath.Join(golden.Root(t, "testdata"), "quant", "blockwise8_"+name+".safetensors"))
		x := f.F32("x")
		codes, absmax := make([]uint8, len(x)), make([]float32, (len(x)+255)/256)
		DynamicMap(signed).Quantize8(codes, absmax, x, 256)
		if !slices.Equal(codes, f.U8("q")) || !slices.Equal(absmax, f.F32("absmax")) {
			t.Errorf("%s: other codes or scales", name)
		}
	}
}
