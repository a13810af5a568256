package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.safetensors")
	x := []float32{1, -2.5, 0, float32(math.Inf(1)), 3e-5, 65504}
	ts := []Tensor{F32("b", x, 2, 3), {Name: "a", DType: "BF16", Shape: []int{6}, Data: x},
		{Name: "h", DType: "F16", Shape: []int{6}, Data: x},
		{Name: "i", DType: "I64", Shape: []int{1}, Raw: []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		F32("scalar", []float32{4})}
	if err := Write(path, ts, map[string]string{"format": "pt"}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, _ := f.Float32("b"); !slices.Equal(got, x) {
		t.Errorf("b is %v", got)
	}
	if got, _ := f.Float32("h"); got[0] != 1 || got[1] != -2.5 || got[5] != 65504 || math.Abs(float64(got[4])-3e-5) > 6e-8 {
		t.Errorf("h is %v", got)
	}
	if got, _ := f.Int64("i"); got[0] != -2 {
		t.Errorf("i is %v", got)
	}
	if f.Metadata()["format"] != "pt" || !slices.Equal(f.Names(), []string{"a", "b", "h", "i", "scalar"}) {
		t.Errorf("metadata %v, names %v", f.Metadata(), f.Names())
	}
	if _, err := f.Float32("i"); err == nil || !strings.Contains(err.Error(), "I64") {
		t.Errorf("an integer tensor read as floats: %v", err)
	}
}

func TestHalfConversion(t *testing.T) {
	for h := 0; h < 1<<16; h++ {
		v := FromF16(uint16(h))
		if v != v {
			continue
		}
		if got := ToF16(v); got != uint16(h) {
			t.Fatalf("half %04x is %g, which rounds to %04x", h, v, got)
		}
	}
	for _, c := range []struct {
		v    float32
		want uint16
	}{{65520, 0x7c00}, {65519.9, 0x7bff}, {1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {2.9e-8, 0}, {3e-8, 1}} {
		if got := ToF16(c.v); got != c.want {
			t.Errorf("%g rounds to %04x, want %04x", c.v, got, c.want)
		}
	}
	if ToBF16(1.00390625) != 0x3f80 || ToBF16(1.01171875) != 0x3f82 {
		t.Error("bfloat16 ties do not go to even")
	}
}

func header(h string, data int) []byte {
	b := make([]byte, 8, 8+len(h)+data)
	binary.LittleEndian.PutUint64(b, uint64(len(h)))
	return append(append(b, h...), make([]byte, data)...)
}

func TestLyingHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":     {nil, "too short"},
		"truncated": {header(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 12), "truncated"},
		"huge":      {append([]byte{0, 0, 0, 0, 0, 0, 0, 0x70}, 1, 2), "header says"},
		"shape":     {header(`{"a":{"dtype":"F32","shape":[5],"data_offsets":[0,16]}}`, 16), "takes 20 bytes"},
		"overlap": {header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`,
			12), "begins at byte 4"},
		"gap":  {header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), "begins at byte 4"},
		"rest": {header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 12), "end at byte 8"},
		"twice": {header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`,
			8), `tensor "a" is in the header twice`},
		"meta twice": {header(`{"__metadata__":{"a":"b"},"__metadata__":{},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8),
			"twice"},
		"more":       {header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}{}`, 8), "more after"},
		"nested":     {header(`{"a":`+strings.Repeat("[", 100_000)+`}`, 8), "not JSON"},
		"dtype":      {header(`{"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}}`, 8), "unknown dtype"},
		"overflow":   {header(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0), "impossible shape"},
		"field":      {header(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}`, 8), "unknown field"},
		"not json":   {header(`{"a"`, 8), "not JSON"},
		"no numbers": {header(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}}`, 8), "impossible shape"},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := os.WriteFile(path, c.file, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file and says %q", name, err, c.want)
		}
	}
}

// TestWriteStreams writes many tensors that are made when their turn comes: the bytes are those of tensors in memory, and no more than
// about one is in memory at a time.
func TestWriteStreams(t *testing.T) {
	const n, size = 32, 1 << 18
	value := func(i, k int) float32 { return float32(i*1000 + k%977) }
	var lazy, eager []Tensor
	base, peak := uint64(0), uint64(0)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for i := range n {
		x := make([]float32, size)
		for k := range x {
			x[k] = value(i, k)
		}
		eager = append(eager, Tensor{Name: fmt.Sprintf("t%02d", i), DType: []string{"F32", "BF16", "F16"}[i%3],
			Shape: []int{size}, Data: x})
		lazy = append(lazy, Tensor{Name: eager[i].Name, DType: eager[i].DType, Shape: []int{size}, Load: func() (Tensor, error) {
			x := make([]float32, size)
			for k := range x {
				x[k] = value(i, k)
			}
			peak = max(peak, heap())
			return Tensor{Data: x}, nil
		}})
	}
	dir := t.TempDir()
	if err := Write(filepath.Join(dir, "eager"), eager, nil); err != nil {
		t.Fatal(err)
	}
	eager = nil
	base = heap()
	if err := Write(filepath.Join(dir, "lazy"), lazy, nil); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(filepath.Join(dir, "eager"))
	b, _ := os.ReadFile(filepath.Join(dir, "lazy"))
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Error("other bytes")
	}
	if most := uint64(4*size)*2 + 2<<20; peak > base+most {
		t.Errorf("up to %d KiB in memory for tensors of %d KiB", (peak-base)>>10, 4*size>>10)
	}
	f, err := Open(filepath.Join(dir, "lazy"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Write(filepath.Join(dir, "copy"), []Tensor{Copy(f, "t01"),
		{Name: "bad", DType: "F32", Shape: []int{2}, Load: func() (Tensor, error) {
			return Tensor{Data: make([]float32, 3)}, nil
		}}}, nil); err == nil || !strings.Contains(err.Error(), `"bad"`) {
		t.Errorf("a tensor of another size: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*copy*")); len(left) > 0 {
		t.Errorf("half-written: %v", left)
	}
}

func TestOpenDir(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenDir(dir); err == nil || !strings.Contains(err.Error(), "no model.safetensors") {
		t.Errorf("empty folder: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("x"), 0o666)
	if _, err := OpenDir(dir); err == nil || !strings.Contains(err.Error(), "safe_serialization") {
		t.Errorf("pickle: %v", err)
	}
	Write(filepath.Join(dir, "s1.safetensors"), []Tensor{F32("a", []float32{1}, 1)}, nil)
	Write(filepath.Join(dir, "s2.safetensors"), []Tensor{F32("b", []float32{2}, 1)}, nil)
	index := filepath.Join(dir, "model.safetensors.index.json")
	os.WriteFile(index, []byte(`{"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}}`), 0o666)
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := d.Float32("b"); len(b) != 1 || b[0] != 2 {
		t.Errorf("b is %v", b)
	}
	d.Close()
	for doc, want := range map[string]string{
		`{"weight_map":{"a":"s1.safetensors","b":"s1.safetensors"}}`:                      "does not hold it",
		`{"weight_map":{"a":"s1.safetensors","b":"s3.safetensors"}}`:                      "cannot be opened",
		`{"weight_map":{"a":"../s1.safetensors"}}`:                                        "outside",
		`{"weight_map":{"c":"s1.safetensors"}}`:                                           `tensor "a"`,
		`{"weight_map":{"a":"s1.safetensors","b":"s2.safetensors","z":"s2.safetensors"}}`: `tensor "z"`,
	} {
		os.WriteFile(index, []byte(doc), 0o666)
		if _, err := OpenDir(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", doc, err, want)
		}
	}
}

func FuzzHeader(f *testing.F) {
	f.Add([]byte(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`), int64(8))
	f.Add([]byte(`{"__metadata__":{"format":"pt"}}`), int64(0))
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		size &= math.MaxInt32
		infos, _, err := parseHeader(head, size)
		if err != nil {
			return
		}
		total := int64(0)
		for _, i := range infos {
			total += i.Range[1] - i.Range[0]
			if i.Range[1] > size || i.Len() < 0 {
				t.Fatalf("accepted %v of %d bytes", i, size)
			}
		}
		if total != size {
			t.Fatalf("accepted %d bytes of %d", total, size)
		}
	})
}
