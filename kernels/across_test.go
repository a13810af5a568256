package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/guard"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// A product of a few rows with columns that lie one after the other has the bits of the set's tiles, which read them packed, and touches
// nothing behind what is its own.
func TestAcross(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	p := pool.New(2)
	defer p.Close()
	for _, set := range sets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for _, n := range []int{8, 16, 24, 40, 48, 200, 576, 2040} {
				for _, k := range []int{1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 64, 511, 512, 513, 576, 1100} {
					if n*k > 1<<18 {
						continue
					}
					across(t, r, p, 1+r.IntN(acrossRows), n, k)
				}
			}
		})
	}
}

func across(t *testing.T, r *rand.Rand, p *pool.Pool, m, n, k int) {
	ars, bcs, ldc := k+r.IntN(3), k+r.IntN(3), n+r.IntN(3)
	a, b := guard.Float32(t, (m-1)*ars+k, guard.After), guard.Float32(t, (n-1)*bcs+k, guard.After)
	c := guard.Float32(t, (m-1)*ldc+n, guard.After)
	for _, x := range [][]float32{a, b, c} {
		copy(x, randn(r, len(x)))
	}
	packed := make([]float32, k*n)
	for q := range k {
		for j := range n {
			packed[q*n+j] = b[j*bcs+q]
		}
	}
	alpha := float32(r.NormFloat64())
	for _, beta := range []float32{0, 1} {
		want := slices.Clone(c)
		for k0 := 0; k0 < k; k0 += gemmChunk {
			for i := range m {
				for j := 0; j < n; j += tileUnit {
					w := min(tileUnit, n-j)
					var wide, sums [tileUnit * gemmChunk]float32
					chunk := min(gemmChunk, k-k0)
					for q := range chunk {
						copy(wide[q*tileUnit:][:w], packed[(k0+q)*n+j:])
					}
					copy(sums[:w], want[i*ldc+j:])
					tileOf(Active())(1, tileUnit, chunk, a[i*ars+k0:], ars, 1, wide[:], tileUnit, alpha, beta == 1 || k0 > 0, sums[:],
						tileUnit)
					copy(want[i*ldc+j:][:w], sums[:])
				}
			}
		}
		for _, pool := range []*pool.Pool{nil, p} {
			got := guard.Float32(t, len(c), guard.After)
			copy(got, c)
			Gemm(pool, m, n, k, alpha, a, ars, 1, b, 1, bcs, beta, got, ldc)
			for i := range got {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
					t.Fatalf("%d×%d×%d, beta %g: value %d is %g, of the tiles %g", m, n, k, beta, i, got[i], want[i])
				}
			}
		}
	}
}
