package kernels

import (
	"sync"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// source says where a job's B comes from.
type source uint8

const (
	fromPanels     source = iota // packed panels, read where they lie
	fromTransposed               // packed panels of the transposed matrix
	fromStrided                  // a matrix with strides
)

// job is one product, cut into units: a block of rows by a group of panels.
type job struct {
	kernel   tileFunc
	half     halfTile
	m, n, k  int
	alpha    float32
	a, b, c  []float32
	h        []uint16 // B in bfloat16, in place of b
	a16      []uint16 // A in bfloat16, rows lda16 apart
	lda16    int
	ars, acs int
	brs, bcs int
	ldc      int
	add      bool // beta is 1
	thin     bool // tiles of the set AVX2
	source   source
	kc       int // chunk of the inner dimension
	rows     int // rows of a unit
	group    int // panels of a unit
	groups   int
	turn     turned

	// unit, turnBlock, acrossUnit and widenedUnit, bound once
	f, turnF, acrossF, widenedF func(int)
}

// do computes the product.
func (j *job) do(p *pool.Pool, alpha, beta float32, c []float32, ldc int) {
	defer putJob(j)
	add := adds("a product", beta)
	if j.m <= 0 || j.n <= 0 {
		return
	}
	j.alpha, j.add, j.c, j.ldc = alpha, add, c, ldc
	if j.k <= 0 {
		if !j.add {
			for i := range j.m {
				clear(c[i*ldc:][:j.n])
			}
		}
		return
	}
	if t := tiles(); t != nil && j.h != nil {
		j.onTiles(t, p)
		return
	}
	if j.across(p) || j.widened(p) {
		return
	}
	j.kernel, j.half, j.thin = tileOf(Active()), halfTileOf(Active()), Active() == AVX2
	if j.turns() {
		j.doTurned(p)
		return
	}
	j.cut(p)
}

// cut cuts the job into units and runs them.
func (j *job) cut(p *pool.Pool) {
	j.rows, j.group = blockRows, groupSize
	if j.thin {
		j.rows = thinBlock
	}
	if j.h != nil && j.half != nil {
		j.group = halfGroup
	}
	packs := j.source != fromPanels || j.h != nil && j.half == nil
	if packs {
		j.rows = packRows
		if j.h != nil && j.half != nil {
			j.rows /= 2 // its groups are twice as wide
		}
	}
	threads := p.Threads()
	if j.m*j.n*j.k < serialWork {
		threads = 1
	}
	switch {
	case threads == 1:
		p = nil
	case packs: // every block of rows packs B again: narrower groups rather than shorter blocks
		for j.units() < 2*threads && j.group > 2 {
			j.group /= 2
		}
		for j.units() < 2*threads && j.rows > 64 && j.rows > j.m/2 {
			j.rows /= 2
		}
	default:
		for j.units() < 16*threads && j.rows > 32 {
			j.rows /= 2
		}
		for j.units() < 4*threads && j.group > 1 {
			j.group /= 2
		}
	}
	if j.h != nil && j.half != nil {
		defer func(b *mem.Block) { idleHalves.put(b) }(j.narrowA(p))
	}
	p.Run(j.units(), j.f)
}

// units counts the units and sets the number of groups.
func (j *job) units() int {
	j.groups = (panels(j.n) + j.group - 1) / j.group
	return (j.m + j.rows - 1) / j.rows * j.groups
}

// unit computes one block of rows by one group of panels.
func (j *job) unit(u int) {
	s := getScratch()
	defer putScratch(s)
	row0, col0 := u/j.groups*j.rows, u%j.groups*j.group*panelCols
	row1, col1 := min(row0+j.rows, j.m), min(col0+j.group*panelCols, j.n)
	if j.h != nil && j.half != nil {
		j.unitHalf(s, row0, row1, col0, col1)
		return
	}
	packA := j.ars == 1 && j.acs > tileRows && col1-col0 > panelCols
	var bs [groupSize][]float32
	var ldb [groupSize]int
	for k0 := 0; k0 < j.k; k0 += j.kc {
		k := min(j.kc, j.k-k0)
		for q := 0; col0+q*panelCols < col1; q++ {
			col := col0 + q*panelCols
			bs[q], ldb[q] = j.panel(s, q, k0, k, col, min(panelCols, col1-col))
		}
		if j.thin {
			j.thinRows(s, row0, row1, col0, col1, k0, k, &bs, &ldb)
			continue
		}
		for i := row0; i < row1; i += tileRows {
			rows := min(tileRows, row1-i)
			a, ars, acs := j.a[i*j.ars+k0*j.acs:], j.ars, j.acs
			if packA && rows == tileRows {
				for q := range k {
					*(*[tileRows]float32)(s.a[q*tileRows:]) = [tileRows]float32(a[q*acs:])
				}
				a, acs = s.a[:], tileRows
			}
			if j.h != nil {
				j.roundRows(s, i, rows, k0, k)
				a, ars = s.a[:], chunk
			}
			for q, col := 0, col0; col < col1; q, col = q+1, col+panelCols {
				j.tile(s, rows, min(panelCols, col1-col), k, a, ars, acs, bs[q], ldb[q], j.add || k0 > 0, j.c[i*j.ldc+col:])
			}
		}
	}
}

// panel returns the panel of B that holds w columns from col on and the rows [k0, k0+k), and the distance of its rows.
func (j *job) panel(s *scratch, q, k0, k, col, w int) ([]float32, int) {
	if j.h != nil {
		dst := s.b[q*chunk*panelCols : (q+1)*chunk*panelCols]
		j.halfPanel(s, dst, k0, k, col, w)
		return dst, panelCols
	}
	switch j.source {
	case fromPanels:
		return j.b[col*j.k+k0*panelCols:], panelCols
	case fromStrided:
		b := j.b[k0*j.brs+col*j.bcs:]
		if j.bcs == 1 && j.m <= directRows && w%tileUnit == 0 {
			return b, j.brs
		}
		dst := s.b[q*chunk*panelCols:]
		packTile(dst, k, w, b, j.brs, j.bcs)
		return dst, panelCols
	}
	dst := s.b[q*chunk*panelCols:]
	for n := 0; n < k; n += panelCols {
		// Panel (k0+n)/48 of B, its rows from col on: 48 values of the inner dimension side by side.
		packPanel(dst[n*panelCols:], min(panelCols, k-n), w, j.b[(k0+n)*j.n+col*panelCols:], 1, panelCols)
	}
	return dst, panelCols
}

// tile computes rows×w of C through the set's tile kernel, which writes whole multiples of tileUnit columns: a narrower tile
// goes through scratch.
func (j *job) tile(s *scratch, rows, w, k int, a []float32, ars, acs int, b []float32, ldb int, add bool, c []float32) {
	if w%tileUnit == 0 {
		j.kernel(rows, w, k, a, ars, acs, b, ldb, j.alpha, add, c, j.ldc)
		return
	}
	s.load(rows, w, add, c, j.ldc)
	j.kernel(rows, wide(w), k, a, ars, acs, b, ldb, j.alpha, add, s.c[:], panelCols)
	s.store(rows, w, c, j.ldc)
}

// wide is w rounded up to what the tiles write.
func wide(w int) int { return (w + tileUnit - 1) / tileUnit * tileUnit }

// load copies a tile of C narrower than the kernels write to scratch, where it is added to; store copies it back.
func (s *scratch) load(rows, w int, add bool, c []float32, ldc int) {
	if !add {
		return
	}
	for r := range rows {
		copy(s.c[r*panelCols:][:w], c[r*ldc:])
		clear(s.c[r*panelCols+w:][:wide(w)-w])
	}
}

func (s *scratch) store(rows, w int, c []float32, ldc int) {
	for r := range rows {
		copy(c[r*ldc:][:w], s.c[r*panelCols:])
	}
}

// scratch is the memory of one unit.
type scratch struct {
	b [groupSize * chunk * panelCols]float32 // packed B
	a [chunk * tileRows]float32              // a tile's rows of A, one row of the inner dimension after the other
	x [thinBlock*chunk + 2]float32           // the same of a block of rows, and what packing writes beyond
	c [tileRows * panelCols]float32          // a tile narrower than the kernels write
	t [panelCols * panelCols]float32         // a widened block of a bfloat16 panel
}

// free is a list of idle values that the garbage collector does not empty, as it would a sync.Pool.
type free[T any] struct {
	mu   sync.Mutex
	idle []*T
}

func (l *free[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	x := l.idle[n-1]
	l.idle = l.idle[:n-1]
	return x
}

func (l *free[T]) put(x *T) {
	l.mu.Lock()
	l.idle = append(l.idle, x)
	l.mu.Unlock()
}

var (
	freeScratch free[scratch]
	freeJobs    free[job]
)

func getScratch() *scratch {
	if s := freeScratch.get(); s != nil {
		return s
	}
	return new(scratch)
}

func putScratch(s *scratch) { freeScratch.put(s) }

func getJob() *job {
	j := freeJobs.get()
	if j == nil {
		j = new(job)
		j.f, j.turnF, j.acrossF, j.widenedF = j.unit, j.turnBlock, j.acrossUnit, j.widenedUnit
	}
	return j
}

// putJob gives j back without holding on to the caller's matrices.
func putJob(j *job) {
	*j = job{f: j.f, turnF: j.turnF, acrossF: j.acrossF, widenedF: j.widenedF}
	freeJobs.put(j)
}
