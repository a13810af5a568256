package kernels

// unitThin is unit for the set AVX2, whose tile of 6×16 meets the first cache's bounds before the registers': the columns of a tile stay
// in the first cache while the rows of a block, which stay in the second, pass by.
func (j *job) unitThin(s *scratch, row0, row1, col0, col1 int) {
	packA := j.h != nil || j.ars == 1 && j.acs > thinRows && col1-col0 > thinCols
	var bs [groupSize][]float32
	var ldb [groupSize]int
	for k0 := 0; k0 < j.k; k0 += j.kc {
		k := min(j.kc, j.k-k0)
		for q := 0; col0+q*panelCols < col1; q++ {
			col := col0 + q*panelCols
			bs[q], ldb[q] = j.panel(s, q, k0, k, col, min(panelCols, col1-col))
		}
		for i0 := row0; i0 < row1; i0 += thinBlock {
			i1 := min(i0+thinBlock, row1)
			if packA {
				j.packThin(s, i0, i1, k0, k)
			}
			width := thinCols
			if i1-i0 <= 2 {
				width = panelCols
			}
			for q, col := 0, col0; col < col1; q, col = q+1, col+panelCols {
				w := min(panelCols, col1-col)
				for c := 0; c < w; c += width {
					for i, rows := i0, 0; i < i1; i += rows {
						rows = thinTile(i1 - i)
						a, ars, acs := j.a, j.ars, j.acs
						if packA {
							a, ars, acs = s.x[(i-i0)*k:], 1, rows
						} else {
							a = a[i*ars+k0*acs:]
						}
						j.tile(s, rows, min(width, w-c), k, a, ars, acs, bs[q][c:], ldb[q], j.add || k0 > 0, j.c[i*j.ldc+col+c:])
					}
				}
			}
		}
	}
}

// thinTile is the number of rows of the next tile where n rows are left: 6, and no tile of one or two rows behind others of 6.
func thinTile(n int) int {
	if n == thinRows+1 || n == thinRows+2 {
		return 4
	}
	return min(thinRows, n)
}

// packThin writes the rows [i0, i1) of A's chunk to s.x, tile by tile: the rows' values side by side. Where B is bfloat16, they are
// rounded to that.
func (j *job) packThin(s *scratch, i0, i1, k0, k int) {
	for i, rows := i0, 0; i < i1; i += rows {
		rows = thinTile(i1 - i)
		dst, a := s.x[(i-i0)*k:][:rows*k], j.a[i*j.ars+k0*j.acs:]
		if j.ars == 1 && rows == thinRows {
			for q := range k {
				*(*[thinRows]float32)(dst[q*thinRows:]) = [thinRows]float32(a[q*j.acs:])
			}
		} else {
			for r := range rows {
				for q := range k {
					dst[q*rows+r] = a[r*j.ars+q*j.acs]
				}
			}
		}
		if j.h != nil {
			roundBF16Row(dst)
		}
	}
}
