package kernels

// tileUnit is the number of columns of which a tile's width is a multiple.
const tileUnit = 16

// tileFunc computes a tile of at most 8 rows and 48 columns, w a multiple of tileUnit:
//
//	C[i,j] = (add ? C[i,j] : 0) + alpha · Σ_q A[i,q]·B[q,j]
//
// with A[i,q] = a[i*ars+q*acs], B[q,j] = b[q*ldb+j], C[i,j] = c[i*ldc+j], k at least 1, the sum in order of q from zero.
type tileFunc func(rows, w, k int, a []float32, ars, acs int, b []float32, ldb int, alpha float32, add bool, c []float32, ldc int)

// tilePlain is the tile in plain Go: the definition, with every product rounded.
func tilePlain(rows, w, k int, a []float32, ars, acs int, b []float32, ldb int, alpha float32, add bool, c []float32, ldc int) {
	var sum [panelCols]float32
	s := sum[:w]
	for i := range rows {
		clear(s)
		for q := range k {
			x := a[i*ars+q*acs]
			for j, y := range b[q*ldb:][:len(s)] {
				s[j] += float32(x * y)
			}
		}
		ci := c[i*ldc:][:len(s)]
		for j, v := range s {
			if add {
				ci[j] += float32(alpha * v)
			} else {
				ci[j] = alpha * v
			}
		}
	}
}

// checkTile panics where a tile would read or write outside its slices, which assembly would not notice.
func checkTile(rows, w, k int, a []float32, ars, acs int, b []float32, ldb int, c []float32, ldc int) {
	_ = a[(rows-1)*ars+(k-1)*acs]
	_ = b[(k-1)*ldb+w-1]
	_ = c[(rows-1)*ldc+w-1]
}

// flag is b as assembly takes it.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
