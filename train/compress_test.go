package train

import (
	"bytes"
	"cmp"
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/philox"
)

// codecs are the rows of the table, with settings that cut the test's arrays unevenly.
func codecs(t *testing.T) (out []codec) {
	for _, c := range []struct{ name, args string }{{"none", ""}, {"int8", ""}, {"int8", "block_size=7"},
		{"int8", "block_size=1"}, {"topk", ""},
		{"topk", "density=0.13"}, {"topk", "density=1"}} {
		x, err := (&Args{Compression: c.name, CompressionArgs: c.args}).codec()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, x)
	}
	for _, name := range Compressions() {
		if !slices.ContainsFunc(out, func(c codec) bool { return c.name == name }) {
			t.Fatalf("%s is not tested", name)
		}
	}
	return out
}

// values are n values of widely different sizes, with ties and zeros.
func values(n int, round uint64) []float32 {
	k := philox.NewKey(3, "compress", "values")
	x := make([]float32, n)
	for i := range x {
		b := k.At(round, uint64(i))
		x[i] = (float32(b[0])/(1<<31) - 1) * float32(math.Exp2(float64(b[1]%24)-12))
		switch b[2] % 8 {
		case 0:
			x[i] = 0
		case 1:
			x[i] = 0.25
		case 2:
			x[i] = -0.25
		}
	}
	return x
}

func TestCompressions(t *testing.T) {
	for _, c := range codecs(t) {
		for _, n := range []int{0, 1, 2, 7, 255, 256, 257, 5000} {
			x := values(n, 0)
			was := slices.Clone(x)
			b := c.encode(c.o, x)
			if !slices.Equal(x, was) || !bytes.Equal(b, c.encode(c.o, x)) {
				t.Fatalf("%s %v: encoding changes its input, or is not repeatable", c.name, c.o)
			}
			y := slices.Repeat([]float32{99}, n)
			if err := c.decode(c.o, b, y); err != nil {
				t.Fatalf("%s %v of %d: %v", c.name, c.o, n, err)
			}
			switch size := c.size(c.o, n); {
			case c.name != "topk" && size != len(b), c.name == "topk" && math.Abs(float64(size-len(b))) > 0.2*float64(len(b))+1:
				t.Errorf("%s %v of %d: %d bytes, foretold %d", c.name, c.o, n, len(b), size)
			}
			switch c.name {
			case "none":
				if !slices.Equal(x, y) {
					t.Error("none: other values")
				}
			case "int8":
				for i := range x {
					block := int(c.o["block_size"])
					at := i / block * block
					top := 0.0
					for _, v := range x[at:min(at+block, n)] {
						top = max(top, math.Abs(float64(v)))
					}
					if d := math.Abs(float64(x[i]) - float64(y[i])); d > top/127/2*(1+1e-5) {
						t.Fatalf("int8 %v of %d: value %d is off by %g, of a largest %g", c.o, n, i, d, top)
					}
				}
			case "topk":
				// The reference sorts: by magnitude, then by place.
				order := make([]int, n)
				for i := range order {
					order[i] = i
				}
				slices.SortStableFunc(order, func(a, b int) int {
					return cmp.Compare(math.Abs(float64(x[b])), math.Abs(float64(x[a])))
				})
				want := make([]float32, n)
				for _, i := range order[:kept(c.o, n)] {
					want[i] = x[i]
				}
				if !slices.Equal(want, y) {
					t.Fatalf("topk %v of %d: not the largest values", c.o, n)
				}
			}
			// What is damaged is an error, or other values; never a panic.
			for cut := range min(len(b), 40) {
				if c.decode(c.o, b[:cut], y) == nil && cut != len(b) {
					t.Fatalf("%s %v: %d of %d bytes were accepted", c.name, c.o, cut, len(b))
				}
				bad := slices.Clone(b)
				bad[cut] ^= 0xff
				_ = c.decode(c.o, bad, y)
			}
		}
	}
}

// What was sent over the rounds, with what is left over, is the whole: nothing is lost, and what is left over does not grow with the
// rounds.
func TestErrorFeedbackSumsToTheWhole(t *testing.T) {
	const n, rounds = 700, 400
	for _, c := range codecs(t) {
		var rest []float32
		if c.lossy() {
			rest = make([]float32, n)
		}
		whole, sent, size, early := make([]float64, n), make([]float64, n), make([]float64, n), 0.0
		y := make([]float32, n)
		for r := range rounds {
			x := values(n, uint64(r))
			for i, v := range x {
				whole[i] += float64(v)
				size[i] += math.Abs(float64(v))
			}
			b, err := c.feed("x", x, rest)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.decode(c.o, b, y); err != nil {
				t.Fatal(err)
			}
			for i, v := range y {
				sent[i] += float64(v)
			}
			if r == rounds/4 {
				early = norm(rest)
			}
		}
		for i := range whole {
			left := 0.0
			if rest != nil {
				left = float64(rest[i])
			}
			if d := math.Abs(whole[i] - sent[i] - left); d > 1e-6*size[i]+1e-6 {
				t.Fatalf("%s %v: value %d: %g was to be sent, %g was, %g is left", c.name, c.o, i, whole[i], sent[i], left)
			}
		}
		if late := norm(rest); late > 3*early {
			t.Errorf("%s %v: what is left over grew from %g to %g", c.name, c.o, early, late)
		}
	}
	c := codecs(t)[1]
	if _, err := c.feed("x", []float32{1, float32(math.NaN())}, make([]float32, 2)); err == nil {
		t.Error("NaN was sent")
	}
}

func norm(x []float32) float64 {
	s := 0.0
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

func TestCompressionSettings(t *testing.T) {
	for _, c := range []struct {
		name, args string
		ok         bool
	}{{"", "", true}, {"none", "", true}, {"none", "density=1", false}, {"int8", "block_size=64", true}, {"int8", "block_size=0", false},
		{"int8", "block_size=1.5", false}, {"int8", "density=0.1", false}, {"topk", "density=0.001", true}, {"topk", "density=0", false},
		{"topk", "density=1.1", false}, {"topk", "density=nan", false}, {"gzip", "", false}} {
		if _, err := (&Args{Compression: c.name, CompressionArgs: c.args}).codec(); (err == nil) != c.ok {
			t.Errorf("%q %q: %v", c.name, c.args, err)
		} else if err != nil {
			t.Log(err)
		}
	}
}
