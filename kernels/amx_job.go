package kernels

import (
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
)

const (
	tileChunk  = 10     // steps of a strip, at most: its parts of A and B stay in the first cache together
	tileGroup  = 288    // columns of a unit, at most
	tileBlock  = 512    // rows of a unit, at most
	tileRoom   = 800000 // bytes of B that stay in the second cache while rows pass by
	tileLeast  = 128    // rows of a unit, at least, while columns can be cut instead
	tileTurned = 160    // steps of a panel that scratch has room for
)

// tileJob is one product on tiles. A is rounded first; a unit is then a block of rows by a group of columns, for which it transposes what
// it needs of B where that is the transposed matrix's.
type tileJob struct {
	t       *tileSet
	m, n, k int
	a       []float32
	ars     int
	b       []uint16
	c       []float32
	ldc     int
	add     bool
	turn    bool // b holds the transposed matrix
	codes   bool // 8-bit codes, C of int32 values until the end
	per     int  // values of a step
	steps   int
	words   int // of the last step, of four bytes
	a16     []uint16
	kc, kb  int // steps of a strip, and of a block of B
	rows    int
	group   int
	groups  int

	roundF, unitF func(int) // round and unit, bound once
}

var freeTileJobs free[tileJob]

func getTileJob() *tileJob {
	j := freeTileJobs.get()
	if j == nil {
		j = new(tileJob)
		j.roundF, j.unitF = j.round, j.unit
	}
	return j
}

// onTiles computes a product with a bfloat16 matrix.
func (j *job) onTiles(t *tileSet, p *pool.Pool) {
	q := getTileJob()
	q.t, q.m, q.n, q.k, q.a, q.ars, q.b, q.c, q.ldc, q.add = t, j.m, j.n, j.k, j.a, j.ars, j.h, j.c, j.ldc, j.add
	q.turn, q.per = j.source == fromTransposed, stepHalves
	q.do(p)
}

func (j *tileJob) do(p *pool.Pool) {
	if j.m*j.n*j.k < serialWork {
		p = nil
	}
	j.measure()
	units := j.cut(p.Threads())
	buf := j.hold()
	p.Run(j.blocks(), j.roundF)
	p.Run(units, j.unitF)
	idleHalves.put(buf)
	j.done()
}

// measure counts the steps, and the words of the last: of two values, or of four codes.
func (j *tileJob) measure() {
	j.steps = (j.k + j.per - 1) / j.per
	word := j.per / tileRows16
	j.words = (j.k - (j.steps-1)*j.per + word - 1) / word
}

// blocks are those of 32 rows.
func (j *tileJob) blocks() int { return (j.m + stripRows - 1) / stripRows }

// hold takes memory of idleHalves for A in the order of tiles, to be given back there.
func (j *tileJob) hold() *mem.Block {
	n := j.blocks() * j.steps * blockHalves
	buf := idleHalves.get(2 * n)
	j.a16 = buf.Uint16()[:n]
	return buf
}

// done gives j back without holding on to the caller's matrices.
func (j *tileJob) done() {
	*j = tileJob{roundF: j.roundF, unitF: j.unitF}
	freeTileJobs.put(j)
}

// cut chooses the blocks and returns the number of units. No bit depends on them.
func (j *tileJob) cut(threads int) int {
	rows := (j.m + stripRows - 1) &^ (stripRows - 1)
	units := func() int {
		j.groups = (j.n + j.group - 1) / j.group
		return (rows + j.rows - 1) / j.rows * j.groups
	}
	shorter := func(least int) {
		for units() < least && j.rows > tileLeast {
			j.rows = (j.rows/2 + stripRows - 1) &^ (stripRows - 1)
		}
	}
	j.kc, j.group, j.rows = even(j.steps, tileChunk, 1), even(j.n, tileGroup, panelCols), min(tileBlock, rows)
	least := 4 * threads
	if j.turn { // every block of rows transposes again
		least, j.rows = threads, rows
	}
	if threads > 1 {
		if !j.turn {
			shorter(least)
		}
		for units() < least && j.group > 2*panelCols {
			j.group = even(j.group, j.group/2+panelCols/2, panelCols)
		}
		shorter(least)
	}
	if j.turn { // in multiples of 48 values
		j.kb = even(j.steps, tileTurned*panelCols/j.group, 3)
		j.kc = even(min(j.kb, j.steps), tileChunk, 1)
	} else {
		j.kb = max(1, tileRoom/(4*tileRows16*j.group)/j.kc) * j.kc
	}
	return units()
}

// round rounds a block of 32 rows of A.
func (j *tileJob) round(block int) {
	dst := j.a16[block*j.steps*blockHalves:]
	for r := range min(stripRows, j.m-block*stripRows) {
		row := j.a[(block*stripRows+r)*j.ars:][:j.k]
		if j.codes {
			j.t.roundCodes(dst[r*stepHalves:], row)
		} else {
			j.t.round(dst[r*stepHalves:], row)
		}
	}
}

// tileScratch is what a unit's calls share: they are made through a pointer, so that what they point to would be allocated.
type tileScratch struct {
	strip strip
	cfg   tileConfig
	off   [tileGroup / tileRows16]int
}

var freeTileScratch free[tileScratch]

func getTileScratch() *tileScratch {
	if s := freeTileScratch.get(); s != nil {
		return s
	}
	return new(tileScratch)
}

func putTileScratch(s *tileScratch) {
	s.strip = strip{}
	freeTileScratch.put(s)
}

// unit computes one block of rows by one group of columns.
func (j *tileJob) unit(u int) {
	s := getTileScratch()
	col0, row0 := u%j.groups*j.group, u/j.groups*j.rows
	cols, row1 := min(j.group, j.n-col0), min(row0+j.rows, j.m)
	b, panel := j.b, 0
	var turn *scratch
	if j.turn {
		turn = getScratch()
		b, panel = half(turn.b[:]), j.kb*stepPanel
	} else {
		panel = j.panelHalves()
		b = b[col0/panelCols*panel:]
	}
	for t := range (cols + tileRows16 - 1) / tileRows16 {
		s.off[t] = t/3*panel + t%3*stepHalves
	}
	for kb := 0; kb < j.steps; kb += j.kb {
		ke, from := min(j.steps, kb+j.kb), b[min(kb*stepPanel, len(b)):]
		if j.turn {
			j.transpose(b, panel, col0, cols, kb, ke)
			from = b
		}
		for i := row0; i < row1; i += stripRows {
			for k0 := kb; k0 < ke; k0 += j.kc {
				j.stepsOf(s, from[(k0-kb)*stepPanel:], i, col0, cols, k0, min(ke, k0+j.kc))
			}
		}
	}
	for i := row0; j.codes && i < row1; i++ {
		j.t.float(j.c[i*j.ldc+col0:][:cols])
	}
	if turn != nil {
		putScratch(turn)
	}
	putTileScratch(s)
}

// panelHalves is the number of 2-byte values of a panel of B.
func (j *tileJob) panelHalves() int {
	if j.codes {
		return quadRows(j.k) * 2 * panelCols
	}
	return halfRows(j.k) * 2 * panelCols
}

// stepsOf computes what strips does over the steps [k0, k1), of which the last of the inner dimension may be shorter.
func (j *tileJob) stepsOf(s *tileScratch, b []uint16, i, col0, cols, k0, k1 int) {
	whole := k1 - k0
	if k1 == j.steps && j.words < tileRows16 {
		whole--
	}
	if whole > 0 {
		j.strips(s, b, i, col0, cols, k0, whole, tileRows16)
	}
	if k0+whole < k1 {
		j.strips(s, b[whole*stepPanel:], i, col0, cols, k1-1, 1, j.words)
	}
}

// strips computes 32 rows from row i on, or what is left of them, by the columns of a unit, over steps steps from k0 on, of words words
// each.
func (j *tileJob) strips(s *tileScratch, b []uint16, i, col0, cols, k0, steps, words int) {
	rows, rowTiles, colTiles := min(stripRows, j.m-i), 1, 3
	if rows > tileRows16 {
		rows, rowTiles, colTiles = rows-tileRows16, 2, 2
	}
	c := j.c[i*j.ldc+col0:]
	s.strip = strip{cfg: &s.cfg, a: j.a16[(i/stripRows*j.steps+k0)*blockHalves:], b: b, ldc: j.ldc, steps: steps, rowTiles: rowTiles,
		codes: j.codes}
	if j.add || k0 > 0 {
		s.strip.add = 1
	}
	run := func(from, groups, colTiles, width int) {
		if groups == 0 {
			return
		}
		s.cfg.set(rowTiles, colTiles, rows, width, words)
		s.strip.off, s.strip.c, s.strip.groups, s.strip.colTiles = s.off[from:], c[from*tileRows16:], groups, colTiles
		j.t.strip(&s.strip)
	}
	whole := cols / tileRows16
	rest := whole % colTiles
	run(0, whole/colTiles, colTiles, tileRows16)
	run(whole-rest, rest, 1, tileRows16)
	if w := cols % tileRows16; w > 0 {
		run(whole, 1, 1, w)
	}
}

// transpose writes the panels of a unit's columns for the steps [kb, ke).
func (j *tileJob) transpose(dst []uint16, panel, col0, cols, kb, ke int) {
	transposed := transposePairsPlain
	if j.t != &tilesPlain {
		transposed = transposePairs
	}
	for q := 0; q*panelCols < cols; q++ {
		col := col0 + q*panelCols
		rows := (min(panelCols, j.n-col) + 1) / 2
		for n := kb * j.per; n < min(ke*j.per, j.k); n += panelCols {
			transposed(dst[q*panel+(n-kb*j.per)*panelCols:], j.b[(n/panelCols*halfRows(j.n)+col/2)*2*panelCols:], rows)
		}
	}
}
