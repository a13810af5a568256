package kernels

// thinRows computes a unit's rows over one chunk of the inner dimension for the set AVX2, whose tile of 6×16 meets the first cache's bounds
// before the registers': the columns of a tile mostly stay in the first cache while the rows of a block, which stay in the second, pass by.
func (j *job) thinRows(s *scratch, row0, row1, col0, col1, k0, k int, bs *[groupSize][]float32, ldb *[groupSize]int) {
	packA := j.h != nil || j.ars == 1 && j.acs > thinTall && col1-col0 > thinWide
	for i0 := row0; i0 < row1; i0 += thinBlock {
		i1 := min(i0+thinBlock, row1)
		if packA {
			j.packThin(s, i0, i1, k0, k)
		}
		width := thinWide
		if i1-i0 <= 2 { // so few rows would wait for each other's sums
			width = panelCols
		}
		for q, col := 0, col0; col < col1; q, col = q+1, col+panelCols {
			w := min(panelCols, col1-col)
			for c := 0; c < w; c += width {
				for i, rows := i0, 0; i < i1; i += rows {
					rows = thinTile(i1 - i)
					a, ars, acs := s.x[(i-i0)*k:], 1, rows
					if !packA {
						a, ars, acs = j.a[i*j.ars+k0*j.acs:], j.ars, j.acs
					}
					j.tile(s, rows, min(width, w-c), k, a, ars, acs, bs[q][c:], ldb[q], j.add || k0 > 0, j.c[i*j.ldc+col+c:])
				}
			}
		}
	}
}

// thinTile is the number of rows of the next tile where n rows are left: 6, and no tile of one or two rows behind others of 6.
func thinTile(n int) int {
	if n == thinTall+1 || n == thinTall+2 {
		return 4
	}
	return min(thinTall, n)
}

// packThin writes the rows [i0, i1) of A's chunk to s.x, tile by tile: the rows' values side by side. Where B is bfloat16, they are
// rounded to that.
func (j *job) packThin(s *scratch, i0, i1, k0, k int) {
	for i, rows := i0, 0; i < i1; i += rows {
		rows = thinTile(i1 - i)
		dst, a := s.x[(i-i0)*k:][:rows*k], j.a[i*j.ars+k0*j.acs:]
		if j.ars == 1 && rows == thinTall {
			for q := range k {
				*(*[thinTall]float32)(dst[q*thinTall:]) = [thinTall]float32(a[q*j.acs:])
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
