package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// product is op(A)·op(B) in float64.
func product(m, n, k int, at, bt func(i, j int) float32) []float64 {
	c := make([]float64, m*n)
	for i := range m {
		for j := range n {
			for p := range k {
				c[i*n+j] += float64(at(i, p)) * float64(bt(p, j))
			}
		}
	}
	return c
}

func closeTo(t *testing.T, what string, got []float32, ld int, want []float64, m, n, k int) {
	t.Helper()
	for i := range m {
		for j := range n {
			if d := math.Abs(float64(got[i*ld+j]) - want[i*n+j]); !(d <= 2e-6*float64(k)+1e-5) {
				t.Fatalf("%s: [%d, %d] is %g, want %g", what, i, j, got[i*ld+j], want[i*n+j])
			}
		}
	}
}

var gemmSizes = [][3]int{{1, 1, 1}, {1, 48, 64}, {2, 3, 5}, {7, 16, 9}, {8, 47, 33}, {9, 49, 100}, {15, 95, 17},
	{16, 96, 16}, {17, 97, 513},
	{130, 100, 200}, {5, 200, 700}, {48, 16, 1100}, {200, 9, 64}, {3, 300, 1}}

func TestGemm(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			p := pool.New(2)
			defer p.Close()
			r := rand.New(rand.NewPCG(3, 4))
			for _, s := range gemmSizes {
				m, n, k := s[0], s[1], s[2]
				for mode := range 8 {
					ta, tb, acc := mode&1 != 0, mode&2 != 0, mode&4 != 0
					a, b := randn(r, m*(k+1)*2), randn(r, k*(n+1)*2)
					ars, acs, brs, bcs := k+1, 1, n+1, 1
					if ta {
						ars, acs = 1, m+1
						a = randn(r, (m+1)*k+m)
					}
					if tb {
						brs, bcs = 1, k+1
						b = randn(r, (k+1)*n+k)
					}
					want := product(m, n, k, func(i, j int) float32 { return a[i*ars+j*acs] },
						func(i, j int) float32 { return b[i*brs+j*bcs] })
					ldc := n + 3
					c := randn(r, m*ldc)
					beta := float32(0)
					if acc {
						beta = 1
					}
					for i := range want {
						want[i] *= 0.5
						if acc {
							want[i] += float64(c[i/n*ldc+i%n])
						} else {
							c[i/n*ldc+i%n] = float32(math.NaN())
						}
					}
					edge := append([]float32(nil), c...)
					one := append([]float32(nil), c...)
					Gemm(p, m, n, k, 0.5, a, ars, acs, b, brs, bcs, beta, c, ldc)
					what := fmt.Sprintf("%v, mode %d", s, mode)
					closeTo(t, what, c, ldc, want, m, n, k)
					for i := range m {
						for j := n; j < ldc; j++ {
							if math.Float32bits(c[i*ldc+j]) != math.Float32bits(edge[i*ldc+j]) {
								t.Fatalf("%s: wrote beyond the columns of row %d", what, i)
							}
						}
					}
					Gemm(nil, m, n, k, 0.5, a, ars, acs, b, brs, bcs, beta, one, ldc)
					for i := range one {
						if math.Float32bits(c[i]) != math.Float32bits(one[i]) {
							t.Fatalf("%s: one thread and two differ at %d: %g, %g", what, i, one[i], c[i])
						}
					}
				}
			}
		})
	}
}

func TestMatMul(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			p := pool.New(2)
			defer p.Close()
			r := rand.New(rand.NewPCG(5, 6))
			for _, s := range gemmSizes {
				m, n, k := s[0], s[1], s[2]
				w := randn(r, n*k) // [n, k], as a weight [out, in]
				b := PackPanels(make([]float32, PanelsLen(k, n)), k, n, w, 1, k)
				back := make([]float32, n*k)
				b.Unpack(back, 1, k)
				col := make([]float32, k)
				for j := range n {
					b.Column(col, j)
					for i := range k {
						if back[j*k+i] != w[j*k+i] || col[i] != w[j*k+i] {
							t.Fatalf("%v: panels give another weight at [%d, %d]", s, j, i)
						}
					}
				}
				for _, beta := range []float32{0, 1} {
					x, y := randn(r, m*k), randn(r, m*n)
					want := product(m, n, k, func(i, j int) float32 { return x[i*k+j] }, func(i, j int) float32 { return w[j*k+i] })
					for i := range want {
						want[i] += float64(beta * y[i])
					}
					rows := append([]float32(nil), y...)
					MatMul(p, m, x, k, b, beta, y, n)
					closeTo(t, fmt.Sprint("MatMul ", s), y, n, want, m, n, k)
					for i := range m { // a row's bits do not depend on the others, nor on the threads
						MatMul(nil, 1, x[i*k:(i+1)*k], k, b, beta, rows[i*n:(i+1)*n], n)
						for j := range n {
							if math.Float32bits(rows[i*n+j]) != math.Float32bits(y[i*n+j]) {
								t.Fatalf("MatMul %v: row %d alone gives %g at %d, together %g", s, i, rows[i*n+j], j, y[i*n+j])
							}
						}
					}
					dy, dx := randn(r, m*n), randn(r, m*k)
					want = product(m, k, n, func(i, j int) float32 { return dy[i*n+j] }, func(i, j int) float32 { return w[i*k+j] })
					for i := range want {
						want[i] += float64(beta * dx[i])
					}
					one := append([]float32(nil), dx...)
					MatMulT(p, m, dy, n, b, beta, dx, k)
					closeTo(t, fmt.Sprint("MatMulT ", s), dx, k, want, m, k, n)
					MatMulT(nil, m, dy, n, b, beta, one, k)
					for i := range one {
						if math.Float32bits(dx[i]) != math.Float32bits(one[i]) {
							t.Fatalf("MatMulT %v: one thread and two differ", s)
						}
					}
				}
			}
		})
	}
}

// Many rows, whose panels are transposed beforehand, give the bits of few rows at a time, whose panels are not.
func TestMatMulTManyRows(t *testing.T) {
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			p := pool.New(2)
			defer p.Close()
			r := rand.New(rand.NewPCG(7, 8))
			// the last in two blocks of columns
			for _, s := range [][3]int{{513, 1, 3120}, {529, 3120, 1}, {1030, 97, 1070}, {520, 193, 1290}, {513, 201, 6400}} {
				m, k, n := s[0], s[1], s[2]
				b := PackPanels(make([]float32, PanelsLen(k, n)), k, n, randn(r, n*k), 1, k)
				lda, ldc := n+1, k+2
				dy, dx := randn(r, m*lda), randn(r, m*ldc)
				for _, beta := range []float32{0, 1} {
					few, one := slices.Clone(dx), slices.Clone(dx)
					for i := 0; i < m; i += 300 {
						MatMulT(p, min(300, m-i), dy[i*lda:], lda, b, beta, few[i*ldc:], ldc)
					}
					many := slices.Clone(dx)
					MatMulT(p, m, dy, lda, b, beta, many, ldc)
					MatMulT(nil, m, dy, lda, b, beta, one, ldc)
					for i := range dx {
						want := math.Float32bits(few[i])
						if math.Float32bits(many[i]) != want || math.Float32bits(one[i]) != want {
							t.Fatalf("%v, beta %v: [%d, %d] is %g, with one thread %g, few rows at a time %g", s, beta, i/ldc, i%ldc,
								many[i], one[i], few[i])
						}
					}
					if k*n > 1e6 {
						break
					}
				}
			}
		})
	}
}
