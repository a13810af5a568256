package kernels

import (
	"unsafe"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// Products with a frozen bfloat16 matrix.
//
// A is rounded to bfloat16, products are summed in float32. The set AVX512BF16 multiplies pairs by VDPBF16PS, which takes
// subnormal values for zero; the other sets widen the panels, a chunk at a time, and use the float32 tiles.

// halfTile computes rows×w of C (+= where add) from k pairs, w a multiple of tileUnit: A's rows lie ars values apart, B's pairs of
// rows 96.
type halfTile func(rows, w, k int, a []uint16, ars int, b []uint16, add bool, c []float32, ldc int)

// Halves is the memory of x as bfloat16 values, twice as many.
func Halves(x []float32) []uint16 {
	if len(x) == 0 {
		return nil
	}
	return half(x)
}

// Words is the memory of x as unsigned 32-bit integers.
func Words(x []float32) []uint32 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&x[0])), len(x))
}

func half(x []float32) []uint16 { return unsafe.Slice((*uint16)(unsafe.Pointer(&x[0])), 2*len(x)) }

// narrowA rounds A to bfloat16, rows an even number of values apart, once for all the columns that it meets, and returns what memory of
// idleHalves holds it.
func (j *job) narrowA(p *pool.Pool) *mem.Block {
	j.lda16 = (j.k + 1) &^ 1
	buf := idleHalves.get(2 * j.m * j.lda16)
	j.a16 = buf.Uint16()[:j.m*j.lda16]
	const rows = 16
	p.Run((j.m+rows-1)/rows, func(b int) {
		for i := b * rows; i < min((b+1)*rows, j.m); i++ {
			narrowHalf(j.a16[i*j.lda16:][:j.lda16], j.a[i*j.ars:][:j.k])
		}
	})
	return buf
}

// unitHalf computes one unit with a tile of pairs.
func (j *job) unitHalf(s *scratch, row0, row1, col0, col1 int) {
	pairs16 := half(s.b[:])
	var bs [halfGroup][]uint16
	for k0 := 0; k0 < j.k; k0 += j.kc {
		k := min(j.kc, j.k-k0)
		pairs := (k + 1) / 2
		for q := 0; col0+q*panelCols < col1; q++ {
			col := col0 + q*panelCols
			if j.source == fromPanels {
				bs[q] = j.h[(col/panelCols*halfRows(j.k)+k0/2)*2*panelCols:]
				continue
			}
			bs[q] = pairs16[q*chunk*panelCols : (q+1)*chunk*panelCols]
			for n := 0; n < k; n += panelCols {
				p := j.h[((k0+n)/panelCols*halfRows(j.n)+col/2)*2*panelCols:]
				transposePairs(bs[q][n*panelCols:], p, (min(panelCols, col1-col)+1)/2)
			}
		}
		for i := row0; i < row1; i += tileRows {
			rows := min(tileRows, row1-i)
			a := j.a16[i*j.lda16+k0:]
			for q, col := 0, col0; col < col1; q, col = q+1, col+panelCols {
				w, add, c := min(panelCols, col1-col), j.add || k0 > 0, j.c[i*j.ldc+col:]
				if w%tileUnit == 0 {
					j.half(rows, w, pairs, a, j.lda16, bs[q], add, c, j.ldc)
					continue
				}
				s.load(rows, w, add, c, j.ldc)
				j.half(rows, wide(w), pairs, a, j.lda16, bs[q], add, s.c[:], panelCols)
				s.store(rows, w, c, j.ldc)
			}
		}
	}
}

// halfPanel widens what panel returns of a float32 matrix.
func (j *job) halfPanel(s *scratch, dst []float32, k0, k, col, w int) {
	if j.source == fromPanels {
		expandPairs(dst, j.h[(col/panelCols*halfRows(j.k)+k0/2)*2*panelCols:], (k+1)/2)
		return
	}
	for n := 0; n < k; n += panelCols {
		expandPairs(s.t[:], j.h[((k0+n)/panelCols*halfRows(j.n)+col/2)*2*panelCols:], (w+1)/2)
		packPanel(dst[n*panelCols:], min(panelCols, k-n), w, s.t[:], 1, panelCols)
	}
}

// roundRows rounds a tile's rows of A to bfloat16 in s.a, chunk values apart.
func (j *job) roundRows(s *scratch, i, rows, k0, k int) {
	for r := range rows {
		d := s.a[r*chunk:][:k]
		copy(d, j.a[(i+r)*j.ars+k0:])
		roundBF16Row(d)
	}
}

// narrowHalfPlain rounds src to dst, which may have one value more: zero.
func narrowHalfPlain(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = uint16(roundBF16(v) >> 16)
	}
	clear(dst[len(src):])
}

// transposePairsPlain reads rows rows of 48 pairs (2r+s, n) and writes the pairs (n, n+1) of the columns 2r+s: 24 rows of 48.
func transposePairsPlain(dst, src []uint16, rows int) {
	for r := range rows {
		for n := range panelCols {
			for s := range 2 {
				dst[n/2*2*panelCols+(2*r+s)*2+n&1] = src[r*2*panelCols+2*n+s]
			}
		}
	}
}

// expandPairsPlain widens rows rows of 48 pairs into 2·rows rows of 48 values.
func expandPairsPlain(dst []float32, src []uint16, rows int) {
	for r := range rows {
		for i := range panelCols {
			dst[2*r*panelCols+i] = widen(src[(r*panelCols+i)*2])
			dst[(2*r+1)*panelCols+i] = widen(src[(r*panelCols+i)*2+1])
		}
	}
}
