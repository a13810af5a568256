//go:build amd64 && !noasm

package kernels

type asmTile func(k int, a *float32, ars, acs int, b *float32, ldb int, c *float32, ldc int, alpha float32, add int)

// tiles512 and tiles256 are the assembly tiles by columns/16 - 1 and rows - 1.
var (
	tiles512 = [3][8]asmTile{
		{gemm1x16v512, gemm2x16v512, gemm3x16v512, gemm4x16v512, gemm5x16v512, gemm6x16v512, gemm7x16v512, gemm8x16v512},
		{gemm1x32v512, gemm2x32v512, gemm3x32v512, gemm4x32v512, gemm5x32v512, gemm6x32v512, gemm7x32v512, gemm8x32v512},
		{gemm1x48v512, gemm2x48v512, gemm3x48v512, gemm4x48v512, gemm5x48v512, gemm6x48v512, gemm7x48v512, gemm8x48v512},
	}
	tiles256 = [3][6]asmTile{
		{gemm1x16v256, gemm2x16v256, gemm3x16v256, gemm4x16v256, gemm5x16v256, gemm6x16v256},
		{gemm1x32v256, gemm2x32v256},
		{gemm1x48v256, gemm2x48v256},
	}
)

func tileOf(s Set) tileFunc {
	switch s {
	case AVX512, AVX512BF16, AMX:
		return tile512
	case AVX2:
		return tile256
	}
	return tilePlain
}

func tile512(rows, w, k int, a []float32, ars, acs int, b []float32, ldb int, alpha float32, add bool, c []float32, ldc int) {
	checkTile(rows, w, k, a, ars, acs, b, ldb, c, ldc)
	tiles512[w/16-1][rows-1](k, &a[0], ars, acs, &b[0], ldb, &c[0], ldc, alpha, flag(add))
}

// tile256 computes a tile of at most 6 rows: wider than 16 columns with one or two rows, which alone would wait for each other's sums.
func tile256(rows, w, k int, a []float32, ars, acs int, b []float32, ldb int, alpha float32, add bool, c []float32, ldc int) {
	checkTile(rows, w, k, a, ars, acs, b, ldb, c, ldc)
	tiles256[w/16-1][rows-1](k, &a[0], ars, acs, &b[0], ldb, &c[0], ldc, alpha, flag(add))
}

// transpose writes the rows×cols values src[i*stride+j] to dst[j*48+i], for rows and cols that are multiples of 8, and says
// whether it did: the plain set leaves it to a loop.
func transpose(dst, src []float32, rows, cols, stride int) bool {
	if Active() == Plain {
		return false
	}
	if rows == 0 || cols == 0 {
		return true
	}
	_ = src[(rows-1)*stride+cols-1]
	_ = dst[(cols-1)*panelCols+rows-1]
	for i := 0; i < rows; i += 8 {
		transpose8(cols/8, &src[i*stride], stride, &dst[i], panelCols)
	}
	return true
}
