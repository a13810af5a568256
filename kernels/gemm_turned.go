package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// turnedLen is the room for transposed panels: those of a small model's linear layer at once.
const turnedLen = 5 << 18

// turnLeast is the least number of 48×48 blocks that are transposed beforehand: with fewer, the time to start the threads once more
// is not won back.
const turnLeast = 65

// turned is what a job that transposes its panels beforehand keeps of the untransposed matrix.
type turned struct {
	b     []float32 // panels of B
	n, lo int       // columns of the product, and the first of the block
	dst   []float32 // panels of Bᵀ, columns lo and on
}

type turnedBuf [turnedLen]float32

var freeTurned free[turnedBuf]

// turns says whether it pays to transpose the panels once, together, rather than once in every block of rows.
func (j *job) turns() bool {
	return j.source == fromTransposed && j.h == nil && j.m > packRows/2 && panels(j.n)*panels(j.k) >= turnLeast &&
		groupSize*panelCols*j.k <= turnedLen
}

// doTurned computes MatMulT's product as MatMul's with the transposed panels, as many columns at a time as there is room for. The
// chunks of the inner dimension are those of MatMulT, and so are the bits.
func (j *job) doTurned(p *pool.Pool) {
	buf := freeTurned.get()
	if buf == nil {
		buf = new(turnedBuf)
	}
	defer freeTurned.put(buf)
	j.turn = turned{b: j.b, n: j.n}
	c, cols := j.c, even(j.n, turnedLen/j.k, groupSize*panelCols)
	for ; j.turn.lo < j.turn.n; j.turn.lo += cols {
		j.n = min(cols, j.turn.n-j.turn.lo)
		j.turn.dst = buf[:PanelsLen(j.k, j.n)]
		p.Run(panels(j.n)*panels(j.k), j.turnF)
		j.source, j.b, j.c = fromPanels, j.turn.dst, c[j.turn.lo:]
		j.cut(p)
	}
}

// turnBlock transposes one block of 48×48.
func (j *job) turnBlock(u int) {
	t := &j.turn
	col, k0 := u/panels(j.k)*panelCols, u%panels(j.k)*panelCols
	packPanel(t.dst[col*j.k+k0*panelCols:], min(panelCols, j.k-k0), min(panelCols, j.n-col),
		t.b[k0*t.n+(t.lo+col)*panelCols:], 1, panelCols)
}
