package kernels

// Products on tiles: the kernel set AMX.
//
// A product with a bfloat16 matrix goes through the inner dimension in steps of 32 values. In a step the products of the values with even
// and with odd numbers are two chains of fused multiply-adds from zero; even + odd is added to the element of C, which starts from zero or
// from what C held. Sums are rounded to the nearest, halves to even, and a subnormal value is zero, going in and coming out. So the bits of
// an element depend on its row of A, on its column of B and on C's start: not on the rows beside it, the threads, or how the steps are cut
// into blocks, between which C is float32 as it is in a tile. Products of 8-bit codes are exact 32-bit integers.
//
// bfloat16 panels are read where they lie: a row of 48 pairs is three rows of tiles. A is rounded beforehand, in the order of tiles. Strips
// of 32 rows by many columns are one call of assembly, which configures the tiles, computes and releases them, since Go may move a
// goroutine to another thread between any two of its own instructions. stripPlain is the same in Go: the definition, and what computes
// where tiles are emulated.

const (
	tileRows16  = 16                 // rows of a tile, of four-byte words or floats as many
	stepHalves  = 2 * tileRows16     // 2-byte values of a row of a tile of A: 32 bfloat16 values, or 64 codes
	tileHalves  = 16 * stepHalves    // 2-byte values of a tile
	blockHalves = 2 * tileHalves     // of a step of A: two tiles, for 32 rows
	stepPanel   = 16 * 2 * panelCols // 2-byte values of a step of a panel of B
	stripRows   = 2 * tileRows16
)

// tileConfig is the operand of LDTILECFG: for each tile its rows and the bytes of one.
type tileConfig struct {
	palette uint8
	_       [15]uint8 // the row to begin at, 0, and what is reserved
	colsb   [16]uint16
	rows    [16]uint8
}

// set configures the tiles of a strip. The last row tile has rows rows; columns are cols wide; a step has words words of four bytes. A
// strip's tiles are those of C, row by row, then those of A, then those of B.
func (c *tileConfig) set(rowTiles, colTiles, rows, cols, words int) {
	*c = tileConfig{palette: 1}
	tile := func(t, rows, words int) { c.rows[t], c.colsb[t] = uint8(rows), uint16(4*words) }
	for r := range rowTiles {
		h := tileRows16
		if r == rowTiles-1 {
			h = rows
		}
		for q := range colTiles {
			tile(r*colTiles+q, h, cols)
		}
		tile(rowTiles*colTiles+r, h, words)
	}
	for q := range colTiles {
		tile(rowTiles*(colTiles+1)+q, words, cols)
	}
}

// strip is what one call of assembly computes: up to 32 rows of C by groups of column tiles. The assembly knows the order of the fields.
type strip struct {
	cfg    *tileConfig
	a      []uint16  // A in the order of tiles, from the first step and row on
	b      []uint16  // panels of B, from the first step on
	off    []int     // of each column tile: where it begins in b
	c      []float32 // int32 values where codes are multiplied
	ldc    int
	steps  int
	groups int
	add    int // 1 where C is added to

	rowTiles, colTiles int // 2 by 2, 2 by 1, 1 by 3 or 1 by 1
	codes              bool
}

// shape is what cfg says of the last row tile's rows, the columns and the words of a step.
func (s *strip) shape() (rows, cols, words int) {
	a := s.rowTiles * (s.colTiles + 1)
	return int(s.cfg.rows[a-1]), int(s.cfg.colsb[0]) / 4, int(s.cfg.rows[a])
}

// check panics where the strip would read or write outside its slices, which assembly would not notice.
func (s *strip) check() {
	rows, cols, words := s.shape()
	_ = s.a[(s.steps-1)*blockHalves+(s.rowTiles-1)*tileHalves+(rows-1)*stepHalves+2*words-1]
	for _, o := range s.off[:s.groups*s.colTiles] {
		_ = s.b[o : o+(s.steps-1)*stepPanel+(words-1)*2*panelCols+2*cols]
	}
	_ = s.c[((s.rowTiles-1)*tileRows16+rows-1)*s.ldc+(s.groups*s.colTiles-1)*tileRows16+cols-1]
}

// tileSet is an implementation of what products on tiles need.
type tileSet struct {
	strip func(s *strip)
	// round writes a row of A, rounded to bfloat16, to its places in the tiles, blockHalves apart; what is left of the last step is zero.
	// roundCodes does it with codes that are held as float32: 64 of them a step.
	round, roundCodes func(dst []uint16, src []float32)
	quads             func(dst []uint16, codes []int8) // a row of 48 quads from two of 48 pairs
	float             func(c []float32)                // int32 to float32, in place
}

var tilesPlain = tileSet{stripPlain, roundTilesPlain, roundCodesPlain, quadsPlain, floatPlain}

// emulated is a bit of active: the products of the set AMX are computed without tiles.
const emulated = 1 << 8

// tiles are what the active set multiplies on tiles with; nil where it does not.
func tiles() *tileSet {
	switch s := active.Load(); {
	case s == unset:
	case s&emulated != 0:
		if Set(s) >= AVX512 && tilesEmulated != nil {
			return tilesEmulated
		}
		return &tilesPlain
	case Set(s) == AMX:
		return tilesAMX
	}
	return nil
}

// EmulateTiles lets the set of the vectors compute all but products of bfloat16 matrices and codes, which are emulated, and returns a
// function that switches back; for tests. No kernel may run while the set is switched.
func EmulateTiles(vectors Set) (restore func()) {
	old := active.Swap(uint32(vectors) | emulated)
	return func() { active.Store(old) }
}
