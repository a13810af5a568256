//go:build !amd64 || noasm

package kernels

func thinColumn(tiles, k int, a, b []float32, ldb int, next, c []float32, ldc int, alpha float32, add bool) {
	thinColumnPlain(tiles, k, a, b, ldb, next, c, ldc, alpha, add)
}

// thinPack leaves all to the loop of packThin.
func thinPack(dst, src []float32, ss, k int) int { return 0 }
