package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// rounded is a copy of x rounded to bfloat16 by the definition: the nearest value of 8 significant bits, ties to even.
func rounded(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		frac, exp := math.Frexp(float64(v))
		y[i] = float32(math.Ldexp(math.RoundToEven(frac*256)/256, exp))
	}
	return y
}

func TestRoundBF16(t *testing.T) {
	bits := []uint32{0, 1 << 31, 0x3f800000, 0x3f808000, 0x3f808001, 0x3f818000, 0x3f817fff, 0x7f800000, 0xff800000, 0x7f7fffff, 0x7f7f7fff,
		0x7f800001, 0xffc12345, 0x7fffffff, 1, 0x8000, 0x18000, 0x80017fff}
	want := []uint32{0, 1 << 31, 0x3f800000, 0x3f800000, 0x3f810000, 0x3f820000, 0x3f810000, 0x7f800000, 0xff800000, 0x7f800000, 0x7f7f0000,
		0x7fc00000, 0xffc10000, 0x7fff0000, 0, 0, 0x20000, 0x80010000}
	r := rand.New(rand.NewPCG(2, 2))
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for at := range 40 { // the special values fall into the vectors and into the rest
				x := randn(r, at)
				expect := rounded(x)
				for i := range bits {
					x = append(x, math.Float32frombits(bits[i]))
					expect = append(expect, math.Float32frombits(want[i]))
				}
				y, h, back := slices.Clone(x), make([]uint16, len(x)), make([]float32, len(x))
				RoundBF16(nil, y)
				PackBF16(nil, h, x)
				UnpackBF16(nil, back, h)
				for i := range x {
					e := math.Float32bits(expect[i])
					if math.Float32bits(y[i]) != e || math.Float32bits(x[i]) != e || math.Float32bits(back[i]) != e {
						t.Fatalf("value %d of %d: rounded to %08x, packed %08x, unpacked %08x, want %08x", i, len(x),
							math.Float32bits(y[i]), math.Float32bits(x[i]), math.Float32bits(back[i]), e)
					}
				}
			}
		})
	}
}

func TestMatMulHalf(t *testing.T) {
	sizes := append(slices.Clone(gemmSizes), [][3]int{{31, 144, 1283}, {520, 50, 31}, {9, 1290, 97}}...)
	if !testing.Short() {
		sizes = append(sizes, [3]int{530, 450, 401}) // several blocks of rows, of columns and of the inner dimension
	}
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			p := pool.New(2)
			defer p.Close()
			r := rand.New(rand.NewPCG(5, 6))
			for _, s := range sizes {
				m, n, k := s[0], s[1], s[2]
				w := randn(r, n*k)
				store := make([]uint16, HalfLen(k, n))
				for i := range store {
					store[i] = 0x7fc0 // the padding must be written
				}
				b := PackHalf(store, k, n, w, 1, k)
				w = rounded(w)
				back, col := make([]float32, n*k), make([]float32, k)
				b.Unpack(back, 1, k)
				for j := range n {
					b.Column(col, j)
					for i := range k {
						if back[j*k+i] != w[j*k+i] || col[i] != w[j*k+i] {
							t.Fatalf("%v: panels give another weight at [%d, %d]", s, j, i)
						}
					}
				}
				for _, beta := range []float32{0, 1} {
					lda, ldc := k+2, n+1
					x, y := randn(r, m*lda), randn(r, m*ldc)
					xr := rounded(x)
					want := product(m, n, k, func(i, j int) float32 { return xr[i*lda+j] }, func(i, j int) float32 { return w[j*k+i] })
					for i := range want {
						want[i] += float64(beta * y[i/n*ldc+i%n])
					}
					rows, given := slices.Clone(y), slices.Clone(x)
					MatMul(p, m, x, lda, b, beta, y, ldc)
					closeTo(t, fmt.Sprint("MatMul ", s), y, ldc, want, m, n, k)
					if !slices.Equal(x, given) {
						t.Fatalf("MatMul %v changed A", s)
					}
					for i := range m {
						if j := i*ldc + n; y[j] != rows[j] {
							t.Fatalf("MatMul %v wrote beyond row %d", s, i)
						}
						MatMul(nil, 1, x[i*lda:][:k], k, b, beta, rows[i*ldc:][:n], n)
						for j := range n {
							if math.Float32bits(rows[i*ldc+j]) != math.Float32bits(y[i*ldc+j]) {
								t.Fatalf("MatMul %v: row %d alone gives %g at %d, together %g", s, i, rows[i*ldc+j], j, y[i*ldc+j])
							}
						}
					}
					dy, dx := randn(r, m*n), randn(r, m*k)
					dyr := rounded(dy)
					want = product(m, k, n, func(i, j int) float32 { return dyr[i*n+j] }, func(i, j int) float32 { return w[i*k+j] })
					for i := range want {
						want[i] += float64(beta * dx[i])
					}
					one, rows1 := slices.Clone(dx), slices.Clone(dx)
					MatMulT(p, m, dy, n, b, beta, dx, k)
					closeTo(t, fmt.Sprint("MatMulT ", s), dx, k, want, m, k, n)
					MatMulT(nil, m, dy, n, b, beta, one, k)
					if !slices.Equal(dx, one) {
						t.Fatalf("MatMulT %v: one thread and two differ", s)
					}
					for _, i := range []int{0, m / 2, m - 1} { // a row's bits do not depend on the other rows
						row := slices.Clone(rows1[i*k:][:k])
						MatMulT(nil, 1, dy[i*n:][:n], n, b, beta, row, k)
						if !slices.Equal(row, dx[i*k:][:k]) {
							t.Fatalf("MatMulT %v: row %d alone differs", s, i)
						}
					}
				}
				if n > 96 {
					y := make([]float32, m*(n-48))
					x := randn(r, m*k)
					all := make([]float32, m*n)
					MatMul(nil, m, x, k, b, 0, all, n)
					MatMul(nil, m, x, k, b.Columns(48, n), 0, y, n-48)
					for i := range y {
						if y[i] != all[i/(n-48)*n+48+i%(n-48)] {
							t.Fatalf("%v: columns from 48 on give another product", s)
						}
					}
				}
			}
		})
	}
}

// A NaN or an infinity of a row stays in that row.
func TestMatMulHalfNaN(t *testing.T) {
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			r := rand.New(rand.NewPCG(8, 9))
			const m, n, k = 11, 60, 70
			b := PackHalf(make([]uint16, HalfLen(k, n)), k, n, randn(r, n*k), 1, k)
			x, y := randn(r, m*k), make([]float32, m*n)
			x[3*k+5], x[7*k+69] = float32(math.NaN()), float32(math.Inf(1))
			MatMul(nil, m, x, k, b, 0, y, n)
			for i := range m {
				for _, v := range y[i*n : (i+1)*n] {
					if bad := math.IsNaN(float64(v)) || math.IsInf(float64(v), 0); bad != (i == 3 || i == 7) {
						t.Fatalf("row %d has %g", i, v)
					}
				}
			}
		})
	}
}
