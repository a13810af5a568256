package gguf

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/golden"
)

const all = "testdata/all.gguf"

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestMeta: every type of metadata of a file by gguf's own writer has the value that it was given.
func TestMeta(t *testing.T) {
	f := open(t, all)
	one := map[string]any{"uint8": uint8(200), "int8": int8(-100), "uint16": uint16(60000), "int16": int16(-30000),
		"uint32": uint32(4000000000), "int32": int32(-2000000000), "float32": float32(0.1), "bool": true, "string": "straße 你好",
		"uint64": uint64(1<<63 + 1), "int64": int64(-1 << 62), "float64": 1e300}
	for name, want := range one {
		if got := f.Meta.Value("one." + name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
		many := reflect.ValueOf(f.Meta.Value("many." + name))
		if many.Len() != 2 || many.Index(0).Interface() != want || many.Index(1).Interface() != want {
			t.Errorf("the array of %s is %v", name, many)
		}
	}
	if n, ok, err := f.Meta.Int("one.int32"); n != -2000000000 || !ok || err != nil {
		t.Errorf("Int is %d, %v, %v", n, ok, err)
	}
	if v, ok, err := f.Meta.Float("one.uint8"); v != 200 || !ok || err != nil {
		t.Errorf("Float is %v, %v, %v", v, ok, err)
	}
	if _, ok, err := f.Meta.Int("one.string"); ok || err == nil || err.Error() != `one.string is string "straße 你好", not an integer` {
		t.Errorf("a string as an integer: %v", err)
	}
	if _, _, err := f.Meta.Strings("many.int8"); err == nil || !strings.Contains(err.Error(), "an array of 2 × int8, not") {
		t.Errorf("integers as strings: %v", err)
	}
	if _, _, err := f.Meta.Int("one.uint64"); err == nil {
		t.Error("2⁶³ + 1 is an integer")
	}
	if a, ok, err := f.Meta.Ints("many.int16"); !slices.Equal(a, []int{-30000, -30000}) || !ok || err != nil {
		t.Errorf("Ints is %v, %v, %v", a, ok, err)
	}
	if _, ok, err := f.Meta.Int("none"); ok || err != nil {
		t.Errorf("what is not there: %v, %v", ok, err)
	}
}

// TestTensors: shapes are rows first, and values, read whole, in parts and mapped, are the same.
func TestTensors(t *testing.T) {
	f := open(t, all)
	if i, _ := f.Tensor("h.weight"); !slices.Equal(i.Shape, []int{2, 3, 4}) || i.Type != ggml.F16 || i.Size != 48 {
		t.Errorf("h.weight is %+v", i)
	}
	if !slices.Equal(f.Names(), []string{"BF16.weight", "Q4_0.weight", "Q8_0.weight", "a.weight", "h.weight"}) ||
		f.Order()[0] != "a.weight" {
		t.Errorf("the names are %v, %v", f.Names(), f.Order())
	}
	for _, name := range f.Names() {
		x, err := f.Float32(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(x); at += 7 {
			part := make([]float32, min(45, len(x)-at))
			if err := f.ReadFloat32(name, part, at); err != nil || !slices.Equal(part, x[at:at+len(part)]) {
				t.Fatalf("%s from %d on is %v, %v; want %v", name, at, part, err, x[at:at+len(part)])
			}
		}
		m, err := f.Map(name)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := f.Bytes(name); err != nil || !bytes.Equal(b, m.Bytes()) {
			t.Errorf("%s is mapped as other bytes than are read, %v", name, err)
		}
		m.Free()
	}
	x, _ := f.Float32("Q8_0.weight")
	if s := fmt.Sprintf("%.4f", x[:3]); s != "[-0.7130 -0.4991 -0.5276]" {
		t.Errorf("Q8_0.weight begins with %s, by gguf-py [-0.7130 -0.4991 -0.5276]", s)
	}
}

// copied writes what f has with the package's writer.
func copied(t testing.TB, f *File, to string) error {
	var ts []Tensor
	for _, name := range f.Order() {
		i, _ := f.Tensor(name)
		ts = append(ts, Tensor{Name: name, Type: i.Type, Shape: i.Shape, Write: func(w io.Writer) error {
			b, err := f.Bytes(name)
			if err == nil {
				_, err = w.Write(b)
			}
			return err
		}})
	}
	return Write(to, f.Meta, ts)
}

// TestRewritten: what the writer makes of a file of gguf's own, or of llama.cpp's converters, are its bytes.
func TestRewritten(t *testing.T) {
	paths := []string{all}
	if os.Getenv("ADAPTFLOW_GOLDEN") != "" {
		more, _ := filepath.Glob(filepath.Join(golden.Root(t, ""), "gguf", "*.gguf"))
		if paths = append(paths, more...); len(more) < 4 {
			t.Errorf("golden files are %v", more)
		}
	}
	for _, path := range paths {
		to := filepath.Join(t.TempDir(), "x.gguf")
		if err := copied(t, open(t, path), to); err != nil {
			t.Fatal(err)
		}
		want, _ := os.ReadFile(path)
		if got, _ := os.ReadFile(to); !bytes.Equal(got, want) {
			t.Errorf("%s is rewritten as other bytes, %d for %d", path, len(got), len(want))
		}
	}
}

// TestWriteStreams: a tensor whose bytes are not those of its shape, or that fails, leaves no file.
func TestWriteStreams(t *testing.T) {
	to := filepath.Join(t.TempDir(), "x.gguf")
	x := make([]float32, 64)
	for i := range x {
		x[i] = float32(i) - 20
	}
	short := Values("a", ggml.Q8_0, x[:32], 2, 32)
	fails := Tensor{Name: "a", Type: ggml.F32, Shape: []int{1}, Write: func(io.Writer) error { return io.ErrClosedPipe }}
	for want, ts := range map[string][]Tensor{
		"34 bytes were made of it": {short}, "closed pipe": {fails}, "not whole blocks": {Values("a", ggml.Q4_K, x, 64)},
		"twice":                 {Values("a", ggml.F32, x, 64), Values("a", ggml.F32, x, 64)},
		"possible":              {Values(strings.Repeat("n", 64), ggml.F32, x, 64)},
		"IQ4_NL is not written": {Values("a", 20, x, 64)},
	} {
		if err := Write(to, nil, ts); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), to) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if es, _ := os.ReadDir(filepath.Dir(to)); len(es) != 0 {
		t.Errorf("%v is left", es)
	}
	if err := Write(to, Meta{{"x", struct{}{}}}, nil); err == nil || !strings.Contains(err.Error(), "x: a struct {} cannot be written") {
		t.Error(err)
	}
	if err := Write(to, nil, []Tensor{Values("a", ggml.Q8_0, x, 2, 32)}); err != nil {
		t.Fatal(err)
	}
	got, err := open(t, to).Float32("a")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if math.Abs(float64(v-x[i])) > 44.0/254+1e-2 {
			t.Errorf("value %d is %v, of %v", i, v, x[i])
		}
	}
}

// file makes a file of parts: strings as they are, and integers of their width.
func file(parts ...any) []byte {
	b := []byte(magic)
	for _, p := range parts {
		switch v := p.(type) {
		case string:
			b = append(b, v...)
		case int:
			b = little.AppendUint64(b, uint64(v))
		case uint32:
			b = little.AppendUint32(b, v)
		case uint64:
			b = little.AppendUint64(b, v)
		case []byte:
			b = append(b, v...)
		}
	}
	return b
}

func u(n int) uint32 { return uint32(n) }

// lies are heads of files that lie about themselves.
func lies() map[string][]byte {
	const huge = uint64(1) << 60
	tensor := func(name string, dims ...any) []byte {
		return file(append(append([]any{len(name), name, u(len(dims) - 2)}, dims[:len(dims)-2]...), dims[len(dims)-2:]...)...)[4:]
	}
	zeros := make([]byte, 1<<20)
	return map[string][]byte{
		"not a GGUF file":                    []byte("PK\x03\x04 something else that is long enough"),
		"ends within the version":            []byte(magic),
		"of version 1,":                      file(u(1), 0, 0),
		"big-endian":                         file(u(3<<24), 0, 0),
		"has 1152921504606846976 keys":       file(u(3), 0, huge),
		"1152921504606846976 tensors":        file(u(3), huge, 0),
		"key 0 of the metadata is said":      file(u(3), 0, 1, huge, "a"),
		"key 0 of the metadata is \"\"":      file(u(3), 0, 1, 0, u(0), zeros),
		"x is of the type 13":                file(u(3), 0, 1, 1, "x", u(13), zeros),
		"x is said to have":                  file(u(3), 0, 1, 1, "x", u(8), huge, zeros),
		"x is an array of arrays":            file(u(3), 0, 1, 1, "x", u(9), u(9), 1, u(9), u(9), 1, zeros),
		"lies":                               file(u(3), 0, 1, 1, "x", u(9), u(8), huge, zeros),
		"and 1048576 bytes are left":         file(u(3), 0, 1, 1, "x", u(9), u(12), 1<<18, zeros),
		"more than 40 MiB":                   file(u(3), 0, 1, 1, "x", u(9), u(8), 3<<20, make([]byte, 24<<20)),
		`the key "x" is in the metadata`:     file(u(3), 0, 2, 1, "x", u(0), "a", 1, "x", u(0), "b"),
		"neither 0 nor 1":                    file(u(3), 0, 1, 1, "x", u(7), "\x02"),
		"split model":                        file(u(3), 0, 1, 11, "split.count", u(2), "\x05\x00"),
		"general.alignment is 24":            file(u(3), 0, 1, 17, "general.alignment", u(4), u(24)),
		"general.alignment is 0":             file(u(3), 0, 1, 17, "general.alignment", u(4), u(0)),
		"the name of tensor 0 is said":       file(u(3), 1, 0, 64, zeros),
		"tensor 0 has the name":              file(u(3), 1, 0, tensor("", 1, u(0), 0), zeros),
		`tensor "a" is there twice`:          file(u(3), 2, 0, tensor("a", 1, u(0), 0), tensor("a", 1, u(0), 32), zeros[:64]),
		"5 dimensions":                       file(u(3), 1, 0, tensor("a", 1, 1, 1, 1, 1, u(0), 0), zeros),
		"0 dimensions":                       file(u(3), 1, 0, tensor("a", u(0), 0), zeros),
		"a dimension of 0,":                  file(u(3), 1, 0, tensor("a", 0, u(0), 0), zeros),
		"a dimension of 4294967296, which":   file(u(3), 1, 0, tensor("a", 1<<32, 1<<32, u(0), 0), zeros),
		"a dimension of 184467440737095516":  file(u(3), 1, 0, tensor("a", -1, u(0), 0), zeros),
		"ggml type 99, which is unknown":     file(u(3), 1, 0, tensor("a", 1, u(99), 0), zeros),
		"not whole blocks of 256":            file(u(3), 1, 0, tensor("a", 32, u(12), 0), zeros),
		"byte 32 of the data, and the one":   file(u(3), 1, 0, tensor("a", 1, u(0), 32), zeros),
		"byte 0 of the data, and the one":    file(u(3), 2, 0, tensor("a", 1, u(0), 0), tensor("b", 1, u(0), 0), zeros),
		"the file has 1048633: it is trunca": file(u(3), 1, 0, tensor("a", 1<<20, u(0), 0), zeros),
		"follow the last tensor":             file(u(3), 1, 0, tensor("a", 1, u(0), 0), zeros),
	}
}

// TestLies: a file that lies is refused with its name and what is wrong, and no memory is taken for what is not there.
func TestLies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gguf")
	for want, b := range lies() {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		b = nil
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Open(path)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%v, want an error that names the file and says %q", err, want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 50<<20 {
			t.Errorf("%s: %d bytes were taken", want, took)
		}
	}
}

// TestTruncated: a file that ends early is named, wherever it ends.
func TestTruncated(t *testing.T) {
	whole, err := os.ReadFile(all)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.gguf")
	if err := os.WriteFile(path, whole, 0o666); err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(whole, "\x00")) // the padding may be missing
	for n := end - 1; n >= 0; n-- {
		if err := os.Truncate(path, int64(n)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), path+": ") ||
			n >= 4 && !strings.Contains(err.Error(), "truncated") {
			t.Fatalf("of %d bytes: %v", n, err)
		}
	}
}

// FuzzGGUF: no file crashes the reader or takes much memory, and one that is read can be read whole, and is the same after it was written.
func FuzzGGUF(f *testing.F) {
	whole, err := os.ReadFile(all)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	for _, b := range lies() {
		if len(b) < 1<<12 {
			f.Add(b)
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(dir, "x.gguf")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		g, err := Open(path)
		if err != nil {
			return
		}
		defer g.Close()
		for _, name := range g.Names() {
			i, _ := g.Tensor(name)
			x, err := g.Float32(name)
			if ggml.Of(i.Type).Read != nil && (err != nil || len(x) != i.Len()) {
				t.Fatalf("%s: %d values, %v", name, len(x), err)
			}
		}
		if a, ok, _ := g.Meta.Int("general.alignment"); ok && a != defAlign {
			return
		}
		to := filepath.Join(dir, "y.gguf")
		if err := copied(t, g, to); err != nil {
			t.Fatal(err)
		}
		again := open(t, to)
		if fmt.Sprint(again.Meta) != fmt.Sprint(g.Meta) || !slices.Equal(again.Order(), g.Order()) {
			t.Fatalf("%v, %v is %v, %v when written", g.Meta, g.Order(), again.Meta, again.Order())
		}
	})
}
