package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/adaptflow/adaptflow/internal/guard"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// guarded are n bytes, a multiple of 4 where the page after them is to be forbidden.
func guarded(t testing.TB, n int) []byte {
	if n == 0 {
		return nil
	}
	x := guard.Float32(t, (n+3)/4, guard.After)
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), n)
}

// random4 is a matrix of random 4-bit codes between forbidden pages, and its values as panels.
func random4(t testing.TB, r *rand.Rand, k, n, block int, half bool) (Codes4, Panels) {
	values := new([16]float32)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	blocks := (k + block - 1) / block
	codes, scales := guarded(t, panels(n)*k/2*panelCols), make([]float32, panels(n)*blocks*panelCols)
	for i := range codes {
		codes[i] = uint8(r.Uint32())
	}
	for i := range scales {
		scales[i] = r.Float32()
	}
	b := Codes4{K: k, N: n, Block: block, Codes: codes, Values: values, Half: half,
		Scales: func(panel int, _ []float32) []float32 { return scales[panel*blocks*panelCols:] }}
	want := Panels{K: k, N: n}
	if half {
		want.Half = make([]uint16, HalfLen(k, n))
	} else {
		want.Data = make([]float32, PanelsLen(k, n))
	}
	for p := range panels(n) {
		for q := range k / 2 {
			from, scale := codes[(p*k/2+q)*panelCols:], scales[(p*blocks+2*q/block)*panelCols:]
			if at := (p*k/2 + q) * 2 * panelCols; half {
				codes4HalfPlain(want.Half[at:], from, values, scale)
			} else {
				codes4WidePlain(want.Data[at:][:panelCols], want.Data[at+panelCols:], from, values, scale)
			}
		}
	}
	return b, want
}

// random8 is a matrix of random 8-bit codes, and these as panels of the set's products.
func random8(t testing.TB, r *rand.Rand, k, n int) (Codes8, Panels) {
	codes, raw := make([]int8, HalfLen(k, n)), guarded(t, HalfLen(k, n))
	dense := make([]float32, k*n)
	for i := range k {
		for j := range n {
			c := int8(r.IntN(255) - 127)
			if i%3 == 0 {
				c = 127 // sums of the largest products
			}
			dense[i*n+j] = float32(c)
			codes[((j/panelCols*halfRows(k)+i/2)*panelCols+j%panelCols)*2+i%2] = c
		}
	}
	for i, c := range codes {
		raw[i] = byte(c)
	}
	b := Codes8{k, n, unsafe.Slice((*int8)(unsafe.Pointer(&raw[0])), len(raw))}
	if WantsHalf() {
		return b, PackHalf(make([]uint16, HalfLen(k, n)), k, n, dense, n, 1)
	}
	return b, PackPanels(make([]float32, PanelsLen(k, n)), k, n, dense, n, 1)
}

// TestFewRows: products of codes have, at any number of rows and with every set, the bits of MatMul with the matrix of their values; that
// writes no column beyond the matrix's.
func TestFewRows(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			r := rand.New(rand.NewPCG(20, uint64(set.set)))
			for _, s := range [][3]int{{2, 1, 2}, {64, 48, 64}, {576, 96, 64}, {640, 50, 64}, {642, 61, 6}, {1300, 47, 128},
				{1536, 7, 64}, {700, 145, 50}} {
				k, n, block := s[0], s[1], s[2]
				for _, m := range []int{1, 2, 1 + r.IntN(fewRegisters), fewRegisters, fewRegisters + 1, 1 + r.IntN(FewRows), FewRows} {
					lda, ldc := k+r.IntN(3), n+r.IntN(3)
					x := guard.Float32(t, (m-1)*lda+k, guard.After)
					whole := guard.Float32(t, (m-1)*lda+k, guard.After)
					for i := range x {
						x[i], whole[i] = float32(r.NormFloat64()), float32(r.IntN(255)-127)
						if i%lda%3 == 0 {
							whole[i] = 127
						}
					}
					y := randn(r, (m-1)*ldc+n)
					for _, beta := range []float32{0, 1} {
						for _, half := range []bool{false, true} {
							codes, values := random4(t, r, k, n, block, half)
							hold(t, fmt.Sprintf("4 bits, half %v, %v, %d rows", half, s, m), y, func(p *pool.Pool, c []float32) {
								MatMul(p, m, x, lda, values, beta, c, ldc)
							}, func(p *pool.Pool, c []float32) { MatMulCodes4(p, m, x, lda, codes, beta, c, ldc) }, p)
						}
						codes, values := random8(t, r, k-k%3%2, n)
						whole8 := slices.Clone(y) // tiles add to C step by step
						for i, v := range y {
							whole8[i] = float32(int(100 * v))
						}
						hold(t, fmt.Sprintf("8 bits, %v, %d rows", s, m), whole8, func(p *pool.Pool, c []float32) {
							MatMul(p, m, whole, lda, values, beta, c, ldc)
						}, func(p *pool.Pool, c []float32) { MatMulCodes8(p, m, whole, lda, codes, beta, c, ldc) }, p)
					}
				}
			}
		})
	}
}

// hold computes the same twice, the second time with one thread and with those of p.
func hold(t *testing.T, what string, y []float32, want, got func(p *pool.Pool, c []float32), p *pool.Pool) {
	t.Helper()
	w := append([]float32(nil), y...)
	want(nil, w)
	for _, p := range []*pool.Pool{nil, p} {
		g := guard.Float32(t, len(y), guard.After)
		copy(g, y)
		got(p, g)
		for i := range w {
			if math.Float32bits(g[i]) != math.Float32bits(w[i]) {
				t.Fatalf("%s, %d threads: value %d is %g, by MatMul %g", what, p.Threads(), i, g[i], w[i])
			}
		}
	}
}

// TestReadAll: every byte is read, whatever its place.
func TestReadAll(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for _, n := range []int{0, 1, 511, 512, 513, 1<<20 + 700} {
				b := guarded(t, n)
				zero := ReadAll(p, b)
				for range min(n, 1) {
					if zero != 0 {
						t.Errorf("%d zeros read as %x", n, zero)
					}
					b[n-1] = 1
					if got := ReadAll(p, b); n%512 != 0 && got == 0 {
						t.Errorf("the last of %d bytes is not read", n)
					}
				}
			}
		})
	}
}
