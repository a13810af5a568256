package kernels

// thinRows computes a unit's rows over one chunk of the inner dimension for the set AVX2: the rows of a block stay in the second cache,
// packed tile by tile, while the columns of a tile of 6×16 pass by. A call goes down a column of whole tiles; tile does the rest. Every
// element is one chain of multiply-adds whichever computes it.
func (j *job) thinRows(s *scratch, row0, row1, col0, col1, k0, k int, bs *[groupSize][]float32, ldb *[groupSize]int) {
	add := j.add || k0 > 0
	for i0 := row0; i0 < row1; i0 += thinBlock {
		i1 := min(i0+thinBlock, row1)
		full := 0
		if col1-col0 > thinWide {
			full = thinFull(i1 - i0)
		}
		packA := full > 0 || j.h != nil || j.ars == 1 && j.acs > thinTall && col1-col0 > thinWide
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
				i, b := i0, bs[q][c:]
				if full > 0 && w-c >= thinWide {
					next := b
					switch {
					case c+width < w:
						next = b[width:]
					case col+panelCols < col1:
						next = bs[q+1]
					}
					thinColumn(full, k, s.x[:], b, ldb[q], next, j.c[i*j.ldc+col+c:], j.ldc, j.alpha, add)
					i += full * thinTall
				}
				for rows := 0; i < i1; i += rows {
					rows = thinTile(i1 - i)
					a, ars, acs := s.x[(i-i0)*k:], 1, rows
					if !packA {
						a, ars, acs = j.a[i*j.ars+k0*j.acs:], j.ars, j.acs
					}
					j.tile(s, rows, min(width, w-c), k, a, ars, acs, b, ldb[q], add, j.c[i*j.ldc+col+c:])
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

// thinFull is how many tiles of 6 rows come first where n rows are left.
func thinFull(n int) int {
	tiles, rest := n/thinTall, n%thinTall
	if tiles > 0 && (rest == 1 || rest == 2) {
		tiles--
	}
	return tiles
}

// packThin writes the rows [i0, i1) of A's chunk to s.x, tile by tile: the rows' values side by side. Where B is bfloat16, they are
// rounded to that.
func (j *job) packThin(s *scratch, i0, i1, k0, k int) {
	for i, rows := i0, 0; i < i1; i += rows {
		rows = thinTile(i1 - i)
		dst, a := s.x[(i-i0)*k:], j.a[i*j.ars+k0*j.acs:]
		switch {
		case j.ars == 1 && rows == thinTall:
			for q := range k {
				*(*[thinTall]float32)(dst[q*thinTall:]) = [thinTall]float32(a[q*j.acs:])
			}
		default:
			done := 0
			if j.acs == 1 && rows == thinTall {
				done = thinPack(dst, a, j.ars, k)
			}
			for r := range rows {
				for q := done; q < k; q++ {
					dst[q*rows+r] = a[r*j.ars+q*j.acs]
				}
			}
		}
		if j.h != nil {
			roundBF16Row(dst[:rows*k])
		}
	}
}
