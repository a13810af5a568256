package kernels

import (
	"encoding/binary"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// Products of a few rows with matrices of codes: one token of a few texts. Each code is read once and its value never written to memory
// beyond the caches: a panel of columns at a time, which a thread has to itself, is expanded in registers where the set has a kernel for
// it, else a chunk of it in a block that stays in the second cache, for the set's tiles.
//
// A row of a result has the bits of that row of MatMul with the expanded matrix: values are the same, and so are the chunks of the inner
// dimension and the order in them.

// FewRows is the most rows of a product for which this pays: with more, codes are better expanded once, for all rows.
const FewRows = 32

// fewRegisters is the most rows whose sums registers hold while codes are expanded in others.
const fewRegisters = 8

// Codes4 is a frozen matrix B [K, N] of 4-bit codes, K even: ⌈N/48⌉ panels of K/2 rows of 48 bytes, of which each holds the values 2r (the
// upper half) and 2r+1 of a column. A value is Values[code] times the scale of its column in its block of Block rows, Block even; where
// Half is set it is rounded to bfloat16, as the other factor of a product then is.
type Codes4 struct {
	K, N, Block int
	Codes       []uint8
	Values      *[16]float32
	Half        bool
	// Scales returns the scales of a panel, ⌈K/Block⌉ rows of 48: its own memory, or room, which has so many values, filled in.
	Scales func(panel int, room []float32) []float32
}

// Codes8 is a frozen matrix B [K, N] of 8-bit codes in the order of bfloat16 panels: see [Panels].
type Codes8 struct {
	K, N  int
	Codes []int8
}

// few is one such product.
type few struct {
	m, n, k int
	kc      int // chunk of the inner dimension
	a, c    []float32
	a16     []uint16 // A as bfloat16, or as 16-bit integers
	lda     int
	lda16   int
	ldc     int
	add     bool
	b4      Codes4
	b8      Codes8
	blocks  *Blocks // in place of b4, of which then only Half is set
	half    halfTile
	kernel  tileFunc
	tiled   *tileJob  // the same product, where the set multiplies on tiles
	f4, f8  func(int) // unit4 and unit8, bound once
}

var freeFew free[few]

func getFew(m, n, k int, a []float32, lda int, beta float32, c []float32, ldc int) *few {
	t := freeFew.get()
	if t == nil {
		t = new(few)
		t.f4, t.f8 = t.unit4, t.unit8
	}
	t.m, t.n, t.k, t.kc = m, n, k, even(k, chunk, 2)
	t.a, t.lda, t.c, t.ldc, t.add = a, lda, c, ldc, adds("a product", beta)
	return t
}

func putFew(t *few) {
	*t = few{f4: t.f4, f8: t.f8}
	freeFew.put(t)
}

// MatMulCodes4 computes C = beta·C + A·B for a few rows, as MatMul does with the panels of B's values.
func MatMulCodes4(p *pool.Pool, m int, a []float32, lda int, b Codes4, beta float32, c []float32, ldc int) {
	if m <= 0 || b.N <= 0 {
		return
	}
	_, _, _ = a[(m-1)*lda+b.K-1], c[(m-1)*ldc+b.N-1], b.Codes[panels(b.N)*b.K/2*panelCols-1]
	t := getFew(m, b.N, b.K, a, lda, beta, c, ldc)
	defer putFew(t)
	t.b4 = b
	t.panels(p)
}

// panels computes the product panel by panel.
func (t *few) panels(p *pool.Pool) {
	if on := tiles(); on != nil && t.b4.Half {
		t.onTiles4(p, on)
		return
	}
	if t.half, t.kernel = nil, tileOf(Active()); t.b4.Half {
		if t.half = halfTileOf(Active()); t.half != nil {
			defer func(b *mem.Block) { idleHalves.put(b) }(t.sixteen(narrowHalf))
		}
	}
	p.Run(panels(t.n), t.f4)
}

// MatMulCodes8 computes C = beta·C + A·B for a few rows of A whose values are integers of at most 127, as MatMul does: a chunk of their
// products sums to less than 2²⁴, which float32 and 32-bit integers hold exactly.
func MatMulCodes8(p *pool.Pool, m int, a []float32, lda int, b Codes8, beta float32, c []float32, ldc int) {
	if m <= 0 || b.N <= 0 {
		return
	}
	_, _, _ = a[(m-1)*lda+b.K-1], c[(m-1)*ldc+b.N-1], b.Codes[HalfLen(b.K, b.N)-1]
	t := getFew(m, b.N, b.K, a, lda, beta, c, ldc)
	defer putFew(t)
	t.b8 = b
	if tiles() != nil {
		t.kc = (t.k + 1) &^ 1 // as MatMulInt8 adds
	}
	defer func(b *mem.Block) { idleHalves.put(b) }(t.sixteen(integers))
	p.Run(panels(b.N), t.f8)
}

// sixteen writes A in 16 bits a value, rows an even number of values apart, and returns what memory of idleHalves holds it.
func (t *few) sixteen(row func(dst []uint16, src []float32)) *mem.Block {
	t.lda16 = (t.k + 1) &^ 1
	buf := idleHalves.get(2 * t.m * t.lda16)
	t.a16 = buf.Uint16()[:t.m*t.lda16]
	for i := range t.m {
		row(t.a16[i*t.lda16:][:t.lda16], t.a[i*t.lda:][:t.k])
	}
	return buf
}

// integers writes whole numbers as 16-bit integers; dst may have one value more: zero.
func integers(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = uint16(int16(v))
	}
	clear(dst[len(src):])
}

// width is the number of columns of a panel that the product has.
func (t *few) width(panel int) int { return min(panelCols, t.n-panel*panelCols) }

// whole calls f with where the product of some rows with a panel goes: to C itself, or to scratch where that has fewer columns.
func (t *few) whole(s *scratch, panel, i, rows int, add bool, f func(c []float32, ldc int)) {
	c := t.c[i*t.ldc+panel*panelCols:]
	w := t.width(panel)
	if w == panelCols {
		f(c, t.ldc)
		return
	}
	s.load(rows, w, add, c, t.ldc)
	f(s.c[:], panelCols)
	s.store(rows, w, c, t.ldc)
}

// unit4 computes the columns of a panel of 4-bit codes, or of blocks.
func (t *few) unit4(panel int) {
	s := getScratch()
	defer putScratch(s)
	if t.blocks != nil {
		if t.tiled != nil {
			t.tiles4(s, panel, nil, nil)
		} else {
			t.expanded4(s, panel, nil, nil)
		}
		return
	}
	b := &t.b4
	pairs, blocks := t.k/2, (t.k+b.Block-1)/b.Block
	codes := b.Codes[panel*pairs*panelCols:][:pairs*panelCols]
	room := s.x[:]
	if len(room) < blocks*panelCols {
		room = make([]float32, blocks*panelCols)
	}
	scales := b.Scales(panel, room)[:blocks*panelCols]
	if t.tiled != nil {
		t.tiles4(s, panel, codes, scales)
		return
	}
	f := few4Of(b.Half)
	if t.m > fewRegisters || f == nil {
		t.expanded4(s, panel, codes, scales)
		return
	}
	for k0 := 0; k0 < t.k; k0 += t.kc {
		n, add := min(t.kc, t.k-k0)/2, t.add || k0 > 0
		first := (b.Block - k0%b.Block) / 2
		t.whole(s, panel, 0, t.m, add, func(c []float32, ldc int) {
			f(t, n, first, codes[k0/2*panelCols:], scales[k0/b.Block*panelCols:], k0, c, ldc, add)
		})
	}
}

// expanded4 computes the same from values that are expanded a chunk at a time.
func (t *few) expanded4(s *scratch, panel int, codes []uint8, scales []float32) {
	for k0 := 0; k0 < t.k; k0 += t.kc {
		k := min(t.kc, t.k-k0)
		t.expand4(s, panel, codes, scales, k0, k, t.half != nil)
		if t.b4.Half && t.half == nil {
			roundBF16Row(s.b[:k*panelCols])
		}
		t.rows(s, panel, k0, k)
	}
}

// expand4 writes a chunk of a panel's values to s.b: as bfloat16 pairs with pairs set.
func (t *few) expand4(s *scratch, panel int, codes []uint8, scales []float32, k0, k int, pairs bool) {
	if t.blocks != nil {
		t.blocks.expand(s, panel, k0, k, pairs)
		return
	}
	b := &t.b4
	for at := k0; at < k0+k; {
		next := min(k0+k, (at/b.Block+1)*b.Block)
		scale, from, rows := scales[at/b.Block*panelCols:], codes[at/2*panelCols:], (next-at)/2
		if pairs {
			Codes4Half(half(s.b[:])[(at-k0)*panelCols:], from, b.Values, scale, rows)
		} else {
			Codes4Wide(s.b[(at-k0)*panelCols:], from, b.Values, scale, rows)
		}
		at = next
	}
}

// rows multiplies all rows by the chunk of a panel in s.b, in tiles of the set.
func (t *few) rows(s *scratch, panel, k0, k int) {
	tall, width := tileRows, panelCols
	if Active() == AVX2 {
		if tall = 2; t.m > 2 { // see thinRows
			tall, width = thinTall, thinWide
		}
	}
	add := t.add || k0 > 0
	for i := 0; i < t.m; i += tall {
		rows := min(tall, t.m-i)
		a, ars := t.a[i*t.lda+k0:], t.lda
		if t.b4.Half && t.half == nil {
			for r := range rows {
				d := s.a[r*chunk:][:k]
				copy(d, a[r*ars:])
				roundBF16Row(d)
			}
			a, ars = s.a[:], chunk
		}
		t.whole(s, panel, i, rows, add, func(c []float32, ldc int) {
			if t.half != nil {
				t.half(rows, panelCols, k/2, t.a16[i*t.lda16+k0:], t.lda16, half(s.b[:]), add, c, ldc)
				return
			}
			for col := 0; col < panelCols; col += width {
				t.kernel(rows, width, k, a, ars, 1, s.b[col:], panelCols, 1, add, c[col:], ldc)
			}
		})
	}
}

// unit8 computes the columns of a panel of 8-bit codes.
func (t *few) unit8(panel int) {
	s := getScratch()
	defer putScratch(s)
	pairs := halfRows(t.k)
	codes := t.b8.Codes[panel*pairs*2*panelCols:][:pairs*2*panelCols]
	tall := few8Rows()
	for k0 := 0; k0 < t.k; k0 += t.kc {
		n, add := (min(t.kc, t.k-k0)+1)/2, t.add || k0 > 0
		for i := 0; i < t.m; i += tall {
			rows := min(tall, t.m-i)
			t.whole(s, panel, i, rows, add, func(c []float32, ldc int) {
				few8(rows, n, codes[k0*panelCols:], t.a16[i*t.lda16+k0:], t.lda16, c, ldc, add)
			})
		}
	}
}

// few8Plain computes rows×48 of C (+= where add) from n pairs of codes: rows of A, which are 16-bit integers, lie ars values apart.
func few8Plain(rows, n int, codes []int8, a []uint16, ars int, c []float32, ldc int, add bool) {
	for r := range rows {
		var sum [panelCols]int32
		for q := range n {
			x, y := int32(int16(a[r*ars+2*q])), int32(int16(a[r*ars+2*q+1]))
			for j := range sum {
				sum[j] += x*int32(codes[(q*panelCols+j)*2]) + y*int32(codes[(q*panelCols+j)*2+1])
			}
		}
		d := c[r*ldc:][:panelCols]
		for j, v := range sum {
			if add {
				d[j] += float32(v)
			} else {
				d[j] = float32(v)
			}
		}
	}
}

// ReadAll reads memory with all threads as fast as it comes, and returns a number that depends on it: the most that a product can read.
func ReadAll(p *pool.Pool, b []byte) uint64 {
	const part = 1 << 20
	n := (len(b) + part - 1) / part
	sums := make([]uint64, n)
	p.Run(n, func(i int) {
		x := b[i*part : min(len(b), (i+1)*part)]
		for len(x) > 0 {
			some := x[:min(len(x), 1<<15)]
			sums[i] ^= readRow(some)
			x = x[len(some):]
		}
	})
	sum := uint64(0)
	for _, v := range sums {
		sum ^= v
	}
	return sum
}

func readPlain(b []byte) (sum uint64) {
	for ; len(b) >= 8; b = b[8:] {
		sum ^= binary.LittleEndian.Uint64(b)
	}
	for _, v := range b {
		sum ^= uint64(v)
	}
	return sum
}
