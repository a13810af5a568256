package quant

import (
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// weight4 is a matrix of 4-bit codes that is expanded a tile at a time. The codes lie as the panels of a product do: for 48 rows of the
// matrix, a byte (two values of a row) of each of them, then the next byte of each; the scales of a block of these rows one after the
// other, then those of the next. Where blocks straddle rows, which no published model has, they stay in bitsandbytes' order.
type weight4 struct {
	q      Bits4 // Packed and Absmax are nil where codes and scales lie in panels
	half   bool  // expanded to bfloat16, else to float32
	codes  []uint8
	scales []float32 // nil where they are quantised
	blocks []*mem.Block
}

// tile4 is about how many values a tile of 4-bit codes expands to.
const tile4 = 1 << 20

// NewBits4 makes a weight of q, whose values are multiplied as bfloat16 with half set, else as float32. q's slices are copied.
func NewBits4(q *Bits4, half bool) Weight {
	if q.In%q.BlockSize != 0 {
		w := &weight4{q: *q, half: half}
		w.own()
		return w
	}
	w := newWeight4(*q, half)
	w.own()
	w.put(0, q.Packed)
	return w
}

// newWeight4 makes a weight with the scales of q and room for its codes in panels.
func newWeight4(q Bits4, half bool) *weight4 {
	const width = kernels.PanelWidth
	q.Packed = nil
	b := mem.Alloc(q.In / 2 * ((q.Out + width - 1) / width * width))
	return &weight4{q: q, half: half, codes: b.Bytes(), blocks: []*mem.Block{b}}
}

// put lays the codes of rows from lo on into the panels.
func (w *weight4) put(lo int, packed []uint8) {
	const width = kernels.PanelWidth
	pairs := w.q.In / 2
	for r := range len(packed) / pairs {
		o := lo + r
		to := w.codes[o/width*pairs*width+o%width:]
		for i, c := range packed[r*pairs:][:pairs] {
			to[i*width] = c
		}
	}
}

func (w *weight4) Dims() (out, in int) { return w.q.Out, w.q.In }

// rows is the number of rows of a tile.
func (w *weight4) rows() int {
	const width = kernels.PanelWidth
	return max(2, min(8, tile4/(w.q.In*width))) * width
}

func (w *weight4) Tiles() int { return (w.q.Out + w.rows() - 1) / w.rows() }

func (w *weight4) TileRange(tile int) (lo, hi int) {
	return tile * w.rows(), min((tile+1)*w.rows(), w.q.Out)
}

func (w *weight4) ScratchLen() int {
	n := kernels.PanelsLen(w.q.In, w.rows())
	if w.half {
		n = kernels.HalfLen(w.q.In, w.rows()) / 2
	}
	if w.codes == nil {
		n += w.rows() * w.q.In
	}
	return n
}

func (w *weight4) Release(int) {}

func (w *weight4) Acquire(p *pool.Pool, tile int, scratch []float32) kernels.Panels {
	lo, hi := w.TileRange(tile)
	b := kernels.Panels{K: w.q.In, N: hi - lo}
	if w.half {
		b.Half = kernels.Halves(scratch)[:kernels.HalfLen(b.K, b.N)]
	} else {
		b.Data = scratch[:kernels.PanelsLen(b.K, b.N)]
	}
	if w.codes == nil {
		rows := scratch[len(scratch)-w.rows()*w.q.In:][:b.N*b.K]
		for i := range rows {
			rows[i] = w.q.Value(lo*b.K + i)
		}
		if w.half {
			return kernels.PackHalf(b.Half, b.K, b.N, rows, 1, b.K)
		}
		return kernels.PackPanels(b.Data, b.K, b.N, rows, 1, b.K)
	}
	const width = kernels.PanelWidth
	block, pairs := w.q.BlockSize, b.K/2
	perRow := b.K / block
	p.Run((b.N+width-1)/width, func(i int) {
		var room [width]float32
		codes := w.codes[(lo/width+i)*pairs*width:][:pairs*width]
		for k := range perRow {
			scale := w.blockScales(lo/width+i, k, room[:])
			at := k * block / 2
			if w.half {
				kernels.Codes4Half(b.Half[(i*pairs+at)*2*width:], codes[at*width:], &w.q.Code.Values, scale, block/2)
			} else {
				kernels.Codes4Wide(b.Data[(i*pairs+at)*2*width:], codes[at*width:], &w.q.Code.Values, scale, block/2)
			}
		}
	})
	return b
}

// blockScales are the scales of block k of a panel's rows: they lie so, or room is filled in.
func (w *weight4) blockScales(panel, k int, room []float32) []float32 {
	const width = kernels.PanelWidth
	perRow := w.q.In / w.q.BlockSize
	if w.scales != nil {
		return w.scales[(panel*perRow+k)*width:][:width]
	}
	n := min(width, w.q.Out-panel*width)
	for r := range room[:n] {
		room[r] = w.q.scale((panel*width+r)*perRow + k)
	}
	clear(room[n:width])
	return room
}

// few computes y = beta·y + x·Wᵀ for a few rows, and says whether it did: where the codes lie in panels.
func (w *weight4) few(p *pool.Pool, m int, x []float32, beta float32, y []float32) bool {
	if m > kernels.FewRows || w.codes == nil {
		return false
	}
	const width = kernels.PanelWidth
	perRow := w.q.In / w.q.BlockSize
	b := kernels.Codes4{K: w.q.In, N: w.q.Out, Block: w.q.BlockSize, Codes: w.codes, Values: &w.q.Code.Values, Half: w.half}
	b.Scales = func(panel int, room []float32) []float32 {
		if w.scales != nil {
			return w.scales[panel*perRow*width:]
		}
		for k := range perRow {
			w.blockScales(panel, k, room[k*width:][:width])
		}
		return room
	}
	kernels.MatMulCodes4(p, m, x, w.q.In, b, beta, y, w.q.Out)
	return true
}

func (w *weight4) value(o, i int) float32 {
	if w.codes == nil {
		return w.q.Value(o*w.q.In + i)
	}
	const width = kernels.PanelWidth
	c := w.codes[(o/width*w.q.In/2+i/2)*width+o%width]
	if i%2 == 0 {
		c >>= 4
	}
	return w.q.Code.Values[c&15] * w.blockScale(o, i/w.q.BlockSize)
}

// blockScale is the scale of block k of row o.
func (w *weight4) blockScale(o, k int) float32 {
	const width = kernels.PanelWidth
	perRow := w.q.In / w.q.BlockSize
	if w.scales != nil {
		return w.scales[(o/width*perRow+k)*width+o%width]
	}
	return w.q.scale(o*perRow + k)
}

func (w *weight4) Rows(dst []float32, ids []int32) {
	for k, o := range ids {
		for i := range w.q.In {
			dst[k*w.q.In+i] = w.value(int(o), i)
		}
	}
}

func (w *weight4) Dense(dst []float32) {
	for i := range dst[:w.q.Out*w.q.In] {
		dst[i] = w.value(i/w.q.In, i%w.q.In)
	}
}

func (w *weight4) Bytes() int64 { return w.q.Bytes() + int64(len(w.codes)) + 4*int64(len(w.scales)) }

// Free returns the weight's memory. It must not be used afterwards.
func (w *weight4) Free() {
	for _, b := range w.blocks {
		b.Free()
	}
}
