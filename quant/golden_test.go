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
	for name, got := range map[string][]float32{"nf4": NF4.Values[:], "fp4": FP4.Values[:], "dynamic_map_signed": DynamicMap(true)[:],
		"dynamic_map_unsigned": DynamicMap(false)[:]} {
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
						t.Fatalf("byte %d is %02x, want %02x (values %g, %g)", i, q.Packed[i], want[i], f.F32("weight")[2*i],
							f.F32("weight")[2*i+1])
					}
				}
			}
			if double {
				if !slices.Equal(q.Nested.Codes, f.U8("absmax")) || !slices.Equal(q.Nested.Absmax, f.F32("nested_absmax")) ||
					q.Nested.Offset != f.F32("offset")[0] {
					t.Errorf("scales: offset %v, want %v; largest %v, want %v; codes equal: %v", q.Nested.Offset, f.F32("offset")[0],
						q.Nested.Absmax, f.F32("nested_absmax"),
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
	t.Logf("4-bit matrices: %d cases ran", ran)
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

// TestGoldenInt8 quantises a matrix and activations to LLM.int8 and compares codes and scales bit for bit, and the outputs of bitsandbytes'
// Linear8bitLt with and without outlier columns. What it does in training on a CPU, dequantise and multiply, is what the backward pass
// takes.
func TestGoldenInt8(t *testing.T) {
	f := golden.Open(t, filepath.Join(golden.Root(t, "testdata"), "quant", "int8", "vectorwise.safetensors"))
	shape := f.Shape("weight")
	out, in, m := shape[0], shape[1], f.Shape("x")[0]
	q, x, bias := QuantizeInt8(f.F32("weight"), out, in), f.F32("x"), f.F32("bias")
	ints := func(name string) []int8 {
		var v []int8
		for _, b := range f.U8(name) {
			v = append(v, int8(b))
		}
		return v
	}
	if !slices.Equal(q.Codes, ints("weight_q")) || !slices.Equal(q.Absmax, f.F32("weight_row_absmax")) {
		t.Error("other codes or scales of the weight")
	}
	rows := QuantizeInt8(x, m, in)
	if !slices.Equal(rows.Codes, ints("x_q")) || !slices.Equal(rows.Absmax, f.F32("x_row_absmax")) {
		t.Error("other codes or scales of the activations")
	}
	for name, threshold := range map[string]float32{"linear8bit_eval_threshold0": 0, "linear8bit_eval_threshold6": 6} {
		for _, half := range []bool{false, true} {
			w := NewInt8(q, threshold, half)
			y := make([]float32, m*out)
			Forward(nil, w, m, x, y, make([]float32, ForwardScratch(w, m)))
			if name == "linear8bit_eval_threshold0" {
				for i, want := range f.F32("mm_dequant") { // in float16
					if kernels.RoundF16(y[i]) != want {
						t.Fatalf("int8_mm_dequant: value %d is %g, want %g", i, y[i], want)
					}
				}
			}
			for i := range y {
				y[i] += bias[i%out]
			}
			d := golden.MaxDiff(y, f.F32(name))
			t.Logf("%s: outputs differ by %g", name, d)
			if d > 1e-6 {
				t.Errorf("%s: outputs differ by %g", name, d)
			}
		}
	}
	w := NewInt8(q, Int8Threshold, false)
	scratch := make([]float32, w.ScratchLen())
	y := make([]float32, m*out)
	kernels.MatMul(nil, m, x, in, w.Acquire(nil, 0, scratch), 0, y, out)
	for i := range y {
		y[i] += bias[i%out]
	}
	if d := golden.MaxDiff(y, f.F32("linear8bit_train_threshold6")); d > 1e-5 {
		t.Errorf("the dequantised product differs by %g", d)
	}
	t.Logf("LLM.int8: 3 cases ran")
}
