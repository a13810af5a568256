//go:build amd64 && !noasm

package kernels

// thinColumn is thinColumnPlain for the set AVX2, with fused multiply-adds as its tiles.
func thinColumn(tiles, k int, a, b []float32, ldb int, next, c []float32, ldc int, alpha float32, add bool) {
	checkTile(tiles*thinTall, thinWide, k, a, 1, tiles*thinTall, b, ldb, c, ldc)
	thinColumn256(tiles, k, &a[0], &b[0], ldb, &next[0], &c[0], ldc, alpha, flag(add))
}

// thinPack packs as many values of six rows, ss apart, as the set AVX2 does at once, eight at a time, and returns their number. It writes 2
// values beyond them.
func thinPack(dst, src []float32, ss, k int) int {
	n := k / 8
	if n == 0 {
		return 0
	}
	_ = src[(thinTall-1)*ss+8*n-1]
	_ = dst[thinTall*8*n+1]
	thinPack256(n, &src[0], ss, &dst[0])
	return 8 * n
}
