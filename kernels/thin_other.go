//go:build !amd64 || noasm

package kernels

func thinColumn(tiles, k int, a, b []float32, ldb int, next, c []float32, ldc int, alpha float32, add bool) {
	thinColumnPlain(tiles, k, a, b, ldb, next, c, ldc, alpha, add)
}

// thinPack leaves all to the loop of packThin.
func thinPack(dst, src []float32, ss, k int) int { return 0 }

// thinColumnPlain computes tiles of 6×16, one below the other: a tile's A is k times the values of 6 rows, the next tile's behind it. What
// next begins with, of B's rows, is wanted next.
func thinColumnPlain(tiles, k int, a, b []float32, ldb int, next, c []float32, ldc int, alpha float32, add bool) {
	for t := range tiles {
		tilePlain(thinTall, thinWide, k, a[t*thinTall*k:], 1, thinTall, b, ldb, alpha, add, c[t*thinTall*ldc:], ldc)
	}
}
