package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// quadRows is the number of rows of quads of a panel of codes.
func quadRows(k int) int { return (k + 3) / 4 }

// WantsQuads says whether the active set multiplies 8-bit codes as integers, four at a time: by MatMulInt8.
func WantsQuads() bool { return tiles() != nil }

// QuadsLen is the number of 2-byte values of a [k, n] matrix of codes packed as panels of quads: ⌈N/48⌉ panels of ⌈K/4⌉ rows of 48 quads, a
// quad being four codes of a column one after the other.
func QuadsLen(k, n int) int { return quadRows(k) * 2 * panelCols * panels(n) }

// Quads8 rearranges one panel of rows rows of 48 pairs of codes, as [Codes8Half] has them, into rows of 48 quads.
func Quads8(dst []uint16, codes []int8, rows int) {
	t := tiles()
	for r := 0; r < rows; r += 2 {
		from := codes[r*2*panelCols:]
		if r+1 == rows {
			var last [4 * panelCols]int8
			copy(last[:], from[:2*panelCols])
			from = last[:]
		}
		t.quads(dst[r*panelCols:][:2*panelCols], from[:4*panelCols])
	}
}

// MatMulInt8 computes C = A·B of 8-bit codes, exactly, and rounds the sums to float32: A [m, k] holds its codes as float32 values, B [k, n]
// lies in panels of quads, C [m, n] has rows ldc apart. Only sets of which [WantsQuads] is true have it.
func MatMulInt8(p *pool.Pool, m, n, k int, a []float32, quads []uint16, c []float32, ldc int) {
	if m <= 0 || n <= 0 || k <= 0 {
		panic("kernels: a product of codes without rows, columns or codes")
	}
	j := getTileJob()
	j.t, j.m, j.n, j.k, j.a, j.ars, j.b, j.c, j.ldc = tiles(), m, n, k, a, k, quads, c, ldc
	j.codes, j.per = true, 2*stepHalves
	j.do(p)
}
