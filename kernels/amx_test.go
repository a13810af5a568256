package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// productSets are the sets that run here, and the tiles' emulations: by AVX-512, and in plain Go.
func productSets() []testSet {
	r := sets()
	if Supported(AVX512) {
		r = append(r, testSet{AMX, emulatedName, func(t testing.TB) { t.Cleanup(EmulateTiles(min(best, AVX512BF16))) }})
	}
	return append(r, testSet{AMX, "amx_plain", func(t testing.TB) { t.Cleanup(EmulateTiles(min(best, AVX2))) }})
}

// TestStrips holds every implementation of a strip against that in plain Go, with values of all sizes.
func TestStrips(t *testing.T) {
	for _, set := range productSets() {
		if set.set != AMX || set.name == "amx_plain" {
			continue
		}
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			r := rand.New(rand.NewPCG(20, 5))
			value := func(kind int) uint16 {
				v := r.NormFloat64()
				switch kind {
				case 1: // of very different sizes
					v *= math.Exp(15 * r.NormFloat64())
				case 2: // whose products are about the least normal value
					v *= 0x1p-63
				case 3:
					return uint16(r.Uint32()) &^ 0x4000 // anything but infinity and NaN
				}
				return uint16(roundBF16(float32(v)) >> 16)
			}
			for trial := range 300 {
				shape := [][2]int{{2, 2}, {2, 1}, {1, 3}, {1, 1}}[r.IntN(4)]
				rows, cols, words, kind := 1+r.IntN(16), tileRows16, tileRows16, trial%4
				if shape[1] == 1 {
					cols = 1 + r.IntN(16)
				}
				s := strip{cfg: new(tileConfig), steps: 1 + r.IntN(3), groups: 1 + r.IntN(2), add: r.IntN(2), rowTiles: shape[0],
					colTiles: shape[1], codes: trial%5 == 0}
				if s.steps == 1 {
					words = 1 + r.IntN(16)
				}
				s.cfg.set(shape[0], shape[1], rows, cols, words)
				s.ldc = s.groups*shape[1]*tileRows16 + r.IntN(3)
				s.a, s.b = make([]uint16, s.steps*blockHalves), make([]uint16, 2*s.steps*stepPanel)
				for i := range s.a {
					s.a[i] = value(kind)
				}
				for i := range s.b {
					s.b[i] = value(kind)
				}
				for range s.groups * shape[1] {
					s.off = append(s.off, r.IntN(2)*s.steps*stepPanel+r.IntN(3)*stepHalves)
				}
				s.c = randn(r, stripRows*s.ldc)
				if kind == 2 {
					for i := range s.c {
						s.c[i] *= 0x1p-126
					}
				}
				want := s
				want.c = slices.Clone(s.c)
				stripPlain(&want)
				tiles().strip(&s)
				for i, v := range s.c {
					if w := want.c[i]; math.Float32bits(v) != math.Float32bits(w) && (s.codes || v == v || w == w) {
						t.Fatalf("trial %d: %d rows in %v tiles, %d columns, %d words, %d steps: [%d, %d] is %x, want %x", trial, rows,
							shape, cols, words, s.steps, i/s.ldc, i%s.ldc, math.Float32bits(v), math.Float32bits(w))
					}
				}
			}
		})
	}
}

// The assembly reads a strip's fields where its generator says that they lie.
func TestStripFields(t *testing.T) {
	var s strip
	for _, f := range []struct {
		name     string
		at, want uintptr
	}{
		{"cfg", unsafe.Offsetof(s.cfg), 0}, {"a", unsafe.Offsetof(s.a), 8}, {"b", unsafe.Offsetof(s.b), 32},
		{"off", unsafe.Offsetof(s.off), 56}, {"c", unsafe.Offsetof(s.c), 80}, {"ldc", unsafe.Offsetof(s.ldc), 104},
		{"steps", unsafe.Offsetof(s.steps), 112}, {"groups", unsafe.Offsetof(s.groups), 120}, {"add", unsafe.Offsetof(s.add), 128},
	} {
		if unsafe.Sizeof(uintptr(0)) == 8 && f.at != f.want {
			t.Errorf("%s lies at %d, the assembly reads it at %d", f.name, f.at, f.want)
		}
	}
	if unsafe.Sizeof(tileConfig{}) != 64 || unsafe.Offsetof(tileConfig{}.colsb) != 16 || unsafe.Offsetof(tileConfig{}.rows) != 48 {
		t.Error("the configuration of tiles is not that of LDTILECFG")
	}
}

// exactDot is what a step of the contract gives in arithmetic that rounds once: by adding in big steps of the definition.
func exactDot(c float32, a, b []float32) float32 {
	fma := func(x, y, z float32) float32 { // of normal values, one rounding
		return float32(float64(x)*float64(y) + float64(z))
	}
	for k := 0; k < len(a); k += 32 {
		var even, odd float32
		for i := k; i < min(k+32, len(a)); i += 2 {
			even = fma(a[i], b[i], even)
			if i+1 < len(a) {
				odd = fma(a[i+1], b[i+1], odd)
			}
		}
		c += even + odd
	}
	return c
}

// TestTileContract: each element has the bits that its row, its column and its start give, whatever the number of rows and columns beside
// it, the length of the inner dimension, the threads, beta, and whether the panels are turned.
func TestTileContract(t *testing.T) {
	for _, set := range productSets() {
		if set.set != AMX {
			continue
		}
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			r := rand.New(rand.NewPCG(20, 1))
			trials := 60
			if testing.Short() {
				trials = 15
			}
			for range trials {
				m, n, k := 1+r.IntN(80), 1+r.IntN(400), 1+r.IntN(500)
				if r.IntN(3) == 0 {
					m, k = 1+r.IntN(700), 32*(1+r.IntN(4))
				}
				w, x := rounded(randn(r, n*k)), rounded(randn(r, m*k))
				ldc := n + r.IntN(3)
				c0 := randn(r, m*ldc)
				beta := float32(r.IntN(2))
				turned := r.IntN(2) == 1
				rows := randn(r, k*n) // w transposed
				for i := range n {
					for q := range k {
						rows[q*n+i] = w[i*k+q]
					}
				}
				product := func(p *pool.Pool, m int, x, c []float32, ldc int) {
					if turned { // B [n, k] packed, multiplied as its transpose
						b := PackHalf(make([]uint16, HalfLen(n, k)), n, k, w, k, 1)
						MatMulT(p, m, x, k, b, beta, c, ldc)
						return
					}
					MatMul(p, m, x, k, PackHalf(make([]uint16, HalfLen(k, n)), k, n, rows, n, 1), beta, c, ldc)
				}
				p := pool.New(1 + r.IntN(3))
				c := slices.Clone(c0)
				product(p, m, x, c, ldc)
				p.Close()
				for _, i := range []int{0, r.IntN(m), m - 1} {
					for _, j := range []int{0, r.IntN(n), n - 1} {
						start := float32(0)
						if beta == 1 {
							start = c0[i*ldc+j]
						}
						if got, want := c[i*ldc+j], exactDot(start, x[i*k:][:k], w[j*k:][:k]); got != want {
							t.Fatalf("m %d n %d k %d turned %v beta %g: C[%d, %d] = %x, want %x", m, n, k, turned, beta, i, j,
								math.Float32bits(got), math.Float32bits(want))
						}
					}
					for j := n; j < ldc && i*ldc+j < len(c); j++ {
						if c[i*ldc+j] != c0[i*ldc+j] {
							t.Fatalf("m %d n %d k %d: wrote behind row %d", m, n, k, i)
						}
					}
				}
				lo := r.IntN(m)
				few := 1 + r.IntN(m-lo)
				part := slices.Clone(c0[lo*ldc:])
				product(nil, few, x[lo*k:], part, ldc)
				for i := range few {
					for j := range n {
						if math.Float32bits(part[i*ldc+j]) != math.Float32bits(c[(lo+i)*ldc+j]) {
							t.Fatalf("m %d n %d k %d: row %d of %d alone is another", m, n, k, i, few)
						}
					}
				}
			}
		})
	}
}

// Values that no float32 product of normal numbers shows: what is subnormal counts as zero, wherever it stands.
func TestFlush(t *testing.T) {
	least := float32(0x1p-126)
	for _, c := range []struct {
		x    float64
		want float32
	}{
		{0, 0}, {1, 1}, {float64(least), least}, {-float64(least), -least}, {0x1p-127, 0}, {-0x1p-127, float32(math.Copysign(0, -1))},
		{0x1p-126 - 0x1p-150, 0}, // 24 bits hold it, the subnormal numbers do not
		{0x1p-126 - 0x1p-151, least}, {0x1p-126 + 0x1p-149, least + 0x1p-149}, {0x1p128, float32(math.Inf(1))},
		{math.Inf(-1), float32(math.Inf(-1))},
	} {
		if got := flush(c.x); math.Float32bits(got) != math.Float32bits(c.want) {
			t.Errorf("flush(%x) = %x, want %x", c.x, got, c.want)
		}
	}
	tiny, big := uint16(0x0001), uint16(0x7f00) // 2⁻¹³³, subnormal, and 2¹²⁷
	c := []float32{1, 0x1p-127, -0x1p-140}
	b := make([]uint16, 2*panelCols)
	b[0], b[2], b[4] = big, big, big
	dotPairs(c, []uint16{tiny, 0}, b)
	if c[0] != 1 || c[1] != 0 || c[2] != 0 {
		t.Errorf("subnormal values give %g", c)
	}
	b[0], b[1], b[2], b[3] = 0x1f80, 0x1f80, 0x2000, 0x2000 // 2⁻⁶⁴ and 2⁻⁶³
	c = []float32{0, 0, 0}
	dotPairs(c, []uint16{0x2000, 0x1f80}, b) // 2⁻¹²⁷ and 2⁻¹²⁸ are nothing; 2⁻¹²⁶ stays, 2⁻¹²⁷ is nothing
	if c[0] != 0 || c[1] != least {
		t.Errorf("products next to the least normal value give %x", c)
	}
}

// TestMatMulInt8 holds products of codes against sums of integers.
func TestMatMulInt8(t *testing.T) {
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			if WantsQuads() != (set.set == AMX) {
				t.Fatalf("WantsQuads is %v", WantsQuads())
			}
			if !WantsQuads() {
				return
			}
			r := rand.New(rand.NewPCG(20, 2))
			for _, s := range [][3]int{{1, 1, 1}, {3, 17, 5}, {16, 48, 64}, {33, 100, 70}, {40, 96, 131}, {17, 400, 1300},
				{600, 50, 64}, {5, 50, 2600}} {
				m, n, k := s[0], s[1], s[2]
				x, w := make([]float32, m*k), make([]int8, n*k)
				for i := range x {
					x[i] = float32(r.IntN(255) - 127)
				}
				for i := range w {
					w[i] = int8(r.IntN(255) - 127)
				}
				if k == 2600 { // sums that float32 does not hold
					for i := range x {
						x[i] = float32(120 + r.IntN(8))
					}
					for i := range w {
						w[i] = int8(120 + r.IntN(8))
					}
				}
				// pairs as a weight holds them
				quads, pairs := make([]uint16, QuadsLen(k, n)), make([]int8, HalfLen(k, n))
				for p := 0; p < n; p += panelCols {
					codes := pairs[p/panelCols*HalfLen(k, 1):][:HalfLen(k, 1)]
					for i := range min(panelCols, n-p) {
						for q := range k {
							codes[(q/2*panelCols+i)*2+q%2] = w[(p+i)*k+q]
						}
					}
					Quads8(quads[p/panelCols*QuadsLen(k, 1):], codes, halfRows(k))
				}
				ldc := n + 1
				for _, threads := range []int{1, 2} {
					p := pool.New(threads)
					c := make([]float32, m*ldc)
					for i := range c {
						c[i] = 7
					}
					MatMulInt8(p, m, n, k, x, quads, c, ldc)
					few := slices.Clone(c[:(min(m, FewRows)-1)*ldc+n])
					MatMulCodes8(p, min(m, FewRows), x, k, Codes8{k, n, pairs}, 0, few, ldc)
					sameBits(t, fmt.Sprint("few rows of ", s), few, c)
					p.Close()
					for i := range m {
						for j := range n {
							var want int64
							for q := range k {
								want += int64(x[i*k+q]) * int64(w[j*k+q])
							}
							if c[i*ldc+j] != float32(want) {
								t.Fatalf("%v: [%d, %d] is %g, want %d", s, i, j, c[i*ldc+j], want)
							}
						}
						if c[i*ldc+n] != 7 {
							t.Fatalf("%v: wrote behind row %d", s, i)
						}
					}
				}
			}
		})
	}
}

// TestHeldProduct: what a product leaves behind is what the plan of a program counts.
func TestHeldProduct(t *testing.T) {
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			if !WantsHalf() {
				return
			}
			const m, n, k = 33, 20, 65
			FreeIdle()
			defer FreeIdle()
			b := PackHalf(make([]uint16, HalfLen(k, n)), k, n, make([]float32, n*k), 1, k)
			MatMul(nil, m, make([]float32, m*k), k, b, 0, make([]float32, m*n), n)
			if got, want := len(idleHalves.blocks[0].Bytes()), HeldProduct(m, k).Halves; int64(got) != want {
				t.Errorf("%d bytes are kept, the plan counts %d", got, want)
			}
		})
	}
}
