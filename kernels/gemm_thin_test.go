package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/guard"
)

// A column of tiles gives the bits of the tiles one by one, and packing the values of the rows, between pages that may not be touched.
func TestThinColumn(t *testing.T) {
	if !Supported(AVX2) {
		t.Skip("the processor has no AVX2")
	}
	defer SetActive(AVX2)()
	r := rand.New(rand.NewPCG(9, 10))
	for _, k := range []int{1, 3, 4, 5, 7, 8, 9, 16, 23, 64, 639} {
		for _, tiles := range []int{1, 2, 5, thinBlock / thinTall} {
			const rows = thinTall
			m, lda, ldb, ldc := tiles*rows, k+3, panelCols, thinWide+5
			a, b := guard.Float32(t, (m-1)*lda+k, guard.After), guard.Float32(t, (k-1)*ldb+thinWide, guard.After)
			c := guard.Float32(t, (m-1)*ldc+thinWide, guard.After)
			for _, x := range [][]float32{a, b, c} {
				copy(x, randn(r, len(x)))
			}
			packed := guard.Float32(t, m*k+2, guard.After)
			for i := range tiles {
				to, from := packed[i*rows*k:], a[i*rows*lda:]
				for q := thinPack(to, from, lda, k); q < k; q++ {
					for j := range rows {
						to[q*rows+j] = from[j*lda+q]
					}
				}
			}
			for _, add := range []bool{false, true} {
				want := slices.Clone(c)
				for i := 0; i < m; i += rows {
					tileOf(AVX2)(rows, thinWide, k, a[i*lda:], lda, 1, b, ldb, 0.3, add, want[i*ldc:], ldc)
				}
				thinColumn(tiles, k, packed, b, ldb, b, c, ldc, 0.3, add)
				for i := range c {
					if math.Float32bits(c[i]) != math.Float32bits(want[i]) {
						t.Fatalf("%d tiles, k %d, add %v: value %d is %g, of the tiles one by one %g", tiles, k, add, i, c[i], want[i])
					}
				}
			}
		}
	}
}
