package quant

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// Int8 is a matrix in the 8-bit format of LLM.int8 (Dettmers et al. 2022, arXiv:2208.07339), bitsandbytes' Linear8bitLt: a signed code a
// value, and the largest magnitude of each row.
type Int8 struct {
	Out, In int
	Codes   []int8    // [Out, In]
	Absmax  []float32 // [Out]: SCB in bitsandbytes
}

// Int8Threshold is transformers' llm_int8_threshold: columns of activations with a value of this magnitude are not quantised.
const Int8Threshold = 6

// QuantizeInt8 quantises w [out, in], row-major, as bitsandbytes' int8_vectorwise_quant of the matrix in float16.
func QuantizeInt8(w []float32, out, in int) *Int8 {
	q := ScalesInt8(w, out, in)
	q.Codes = make([]int8, out*in)
	row := make([]float32, in)
	for o := range out {
		if q.Absmax[o] == 0 {
			continue
		}
		kernels.Int8Quantize(row, w[o*in:(o+1)*in], codesPer(q.Absmax[o]), float32(math.Inf(1)))
		for i, v := range row {
			q.Codes[o*in+i] = int8(v)
		}
	}
	return q
}

// ScalesInt8 is QuantizeInt8 without the codes.
func ScalesInt8(w []float32, out, in int) *Int8 {
	if len(w) < out*in {
		panic(fmt.Sprintf("quant: %d values for a matrix [%d, %d]", len(w), out, in))
	}
	q := &Int8{Out: out, In: in, Absmax: make([]float32, out)}
	for o := range out {
		q.Absmax[o], _ = kernels.Int8Absmax(w[o*in:(o+1)*in], float32(math.Inf(1)))
	}
	return q
}

// weight8 is a matrix of 8-bit codes, expanded a tile at a time. The codes lie in the order of bfloat16 panels: for 48 rows of the matrix,
// pairs of consecutive values of each row.
//
// The forward product quantises the activations too (see forward); the gradient is that of the dequantised matrix, which Acquire returns.
type weight8 struct {
	out, in   int
	half      bool // expanded to bfloat16, else to float32
	threshold float32
	codes     []int8
	absmax    []float32
	blocks    []*mem.Block
}

// perCode is what bitsandbytes multiplies a row's largest magnitude by to get the value of a code.
const perCode = float32(1.0 / 127.0)

// perProduct is what bitsandbytes multiplies the sum of the products of codes and the two scales by, on a CPU: almost 1/127².
const perProduct = float32(6.200124e-05)

// codesPer is what a value is multiplied by to get its code: 127/absmax as torch divides a number by a tensor, by the reciprocal. Values of
// half the largest magnitude lie on a tie, which the last bit decides.
func codesPer(absmax float32) float32 { return float32(1/absmax) * 127 }

// NewInt8 makes a weight of q, whose dequantised values are multiplied as bfloat16 with half set, else as float32. Activations are
// quantised but for the columns that hold a magnitude of threshold or more; 0 quantises all. q's slices are copied.
func NewInt8(q *Int8, threshold float32, half bool) Weight {
	w := newWeight8(q.Out, q.In, threshold, half)
	w.put(0, q)
	return w
}

// newWeight8 makes a weight with room for the codes and scales.
func newWeight8(out, in int, threshold float32, half bool) *weight8 {
	w := &weight8{out: out, in: in, half: half, threshold: threshold}
	if threshold == 0 {
		w.threshold = float32(math.Inf(1))
	}
	const width = kernels.PanelWidth
	b, c := mem.AllocFloat32((out+width-1)/width*width), mem.Alloc(kernels.HalfLen(in, out))
	w.absmax, w.codes, w.blocks = b.Float32(), c.Int8(), []*mem.Block{b, c}
	return w
}

// put lays the codes of rows from lo on into the panels.
func (w *weight8) put(lo int, q *Int8) {
	const width = kernels.PanelWidth
	copy(w.absmax[lo:], q.Absmax)
	panel := kernels.HalfLen(q.In, 1)
	for r := range q.Out {
		o := lo + r
		to := w.codes[o/width*panel+o%width*2:]
		for i, v := range q.Codes[r*q.In : (r+1)*q.In] {
			to[i/2*2*width+i%2] = v
		}
	}
}

func (w *weight8) Dims() (out, in int) { return w.out, w.in }

func (w *weight8) rows() int {
	const width = kernels.PanelWidth
	return max(2, min(8, tile4/(w.in*width))) * width
}

func (w *weight8) Tiles() int { return (w.out + w.rows() - 1) / w.rows() }

func (w *weight8) TileRange(tile int) (lo, hi int) {
	return tile * w.rows(), min((tile+1)*w.rows(), w.out)
}

func (w *weight8) ScratchLen() int {
	if w.half {
		return kernels.HalfLen(w.in, w.rows()) / 2
	}
	return kernels.PanelsLen(w.in, w.rows())
}

func (w *weight8) Release(int) {}

func (w *weight8) Acquire(p *pool.Pool, tile int, scratch []float32) kernels.Panels {
	return w.expand(p, tile, scratch, w.half, true)
}

// expand writes the panels of a tile: the codes alone, or dequantised.
func (w *weight8) expand(p *pool.Pool, tile int, scratch []float32, half, scaled bool) kernels.Panels {
	const width = kernels.PanelWidth
	lo, hi := w.TileRange(tile)
	b := kernels.Panels{K: w.in, N: hi - lo}
	if half {
		b.Half = kernels.Halves(scratch)[:kernels.HalfLen(b.K, b.N)]
	} else {
		b.Data = scratch[:kernels.PanelsLen(b.K, b.N)]
	}
	panel := kernels.HalfLen(w.in, 1)
	pairs := panel / (2 * width)
	p.Run((b.N+width-1)/width, func(i int) {
		var scale [width]float32
		for r := range scale {
			scale[r] = 1
			if scaled {
				scale[r] = w.absmax[lo+i*width+r] * perCode
			}
		}
		codes := w.codes[(lo/width+i)*panel:][:panel]
		if half {
			kernels.Codes8Half(b.Half[i*panel:], codes, scale[:], pairs)
			return
		}
		dst := b.Data[i*w.in*width:]
		kernels.Codes8Wide(dst, codes, scale[:], w.in/2)
		if w.in%2 == 1 { // the last row has no second one
			var last [2 * width]float32
			kernels.Codes8Wide(last[:], codes[(pairs-1)*2*width:], scale[:], 1)
			copy(dst[(w.in-1)*width:], last[:width])
		}
	})
	return b
}

// quads writes the codes of a tile as panels of quads.
func (w *weight8) quads(p *pool.Pool, tile int, scratch []float32) []uint16 {
	const width = kernels.PanelWidth
	lo, hi := w.TileRange(tile)
	to := kernels.Halves(scratch)[:kernels.QuadsLen(w.in, hi-lo)]
	panel, quads := kernels.HalfLen(w.in, 1), kernels.QuadsLen(w.in, 1)
	p.Run((hi-lo+width-1)/width, func(i int) {
		kernels.Quads8(to[i*quads:], w.codes[(lo/width+i)*panel:][:panel], panel/(2*width))
	})
	return to
}

// outlierColumns is how many columns of outliers are multiplied at a time.
const outlierColumns = 64

func (w *weight8) forwardScratch(m int) int {
	half := kernels.HalfLen(w.in, w.rows()) / 2 // or quads, which are fewer
	if !kernels.WantsHalf() {
		half = kernels.PanelsLen(w.in, w.rows())
	}
	return half + m*w.in + m + w.in + outlierColumns*(m+w.out)
}

// forward computes y = x·Wᵀ as Linear8bitLt does: each row of x, rounded to float16, is quantised by its largest magnitude; columns in
// which some row has an outlier are left out there and multiplied as they are with the dequantised columns of W. Which columns those are
// depends on all m rows; with byRow each row has its own. The products of codes are exact, so that no kernel set and no number of threads
// changes them.
func (w *weight8) forward(p *pool.Pool, m int, x, y, scratch []float32, byRow bool) {
	take := func(n int) []float32 {
		s := scratch[:n:n]
		scratch = scratch[n:]
		return s
	}
	codes, scale, marks := take(m*w.in), take(m), take(w.in)
	clear(marks)
	mark := kernels.Words(marks)
	const rows = 16
	blocks := (m + rows - 1) / rows
	p.Run(blocks, func(b int) {
		for r := b * rows; r < min((b+1)*rows, m); r++ {
			row := x[r*w.in : (r+1)*w.in]
			below, all := kernels.Int8Absmax(row, w.threshold)
			scale[r] = below
			if below == 0 {
				clear(codes[r*w.in : (r+1)*w.in])
			} else {
				kernels.Int8Quantize(codes[r*w.in:], row, codesPer(below), w.threshold)
			}
			if all < w.threshold {
				continue
			}
			for i, v := range row {
				if h := kernels.RoundF16(v); !(float32(math.Abs(float64(h))) < w.threshold) {
					atomic.StoreUint32(&mark[i], 1)
				}
			}
		}
	})
	var outliers []int
	for i, v := range mark {
		if v != 0 {
			outliers = append(outliers, i)
		}
	}
	if !byRow { // of its own outliers a row has no codes anyway
		for _, i := range outliers {
			for r := range m {
				codes[r*w.in+i] = 0
			}
		}
	}
	a, b := take(outlierColumns*m), take(outlierColumns*w.out)
	w.products(p, m, codes, y, scratch)
	p.Run(blocks, func(k int) {
		for r := k * rows; r < min((k+1)*rows, m); r++ {
			row, s := y[r*w.out:(r+1)*w.out], scale[r]
			for o, v := range row {
				row[o] = v * (s * w.absmax[o]) * perProduct
			}
		}
	})
	for n := 0; len(outliers) > 0; outliers = outliers[n:] {
		n = min(outlierColumns, len(outliers))
		if byRow { // those of a fixed range of columns: what joins a sum does not depend on the other rows' outliers
			n, _ = slices.BinarySearch(outliers, outliers[0]/outlierColumns*outlierColumns+outlierColumns)
		}
		cols := outliers[:n]
		for j, i := range cols {
			for r := range m {
				v := x[r*w.in+i]
				if byRow && math.Abs(float64(kernels.RoundF16(v))) < float64(w.threshold) {
					v = 0
				}
				a[r*n+j] = v
			}
			for o := range w.out {
				b[j*w.out+o] = w.value(o, i)
			}
		}
		kernels.Gemm(p, m, w.out, n, 1, a, n, 1, b, w.out, 1, 1, y, w.out)
	}
}

// products writes the products of m rows of codes with those of W.
func (w *weight8) products(p *pool.Pool, m int, codes, y, scratch []float32) {
	if m <= kernels.FewRows {
		kernels.MatMulCodes8(p, m, codes, w.in, kernels.Codes8{K: w.in, N: w.out, Codes: w.codes}, 0, y, w.out)
		return
	}
	for t := range w.Tiles() {
		lo, hi := w.TileRange(t)
		to := y[lo : (m-1)*w.out+hi]
		if kernels.WantsQuads() {
			kernels.MatMulInt8(p, m, hi-lo, w.in, codes, w.quads(p, t, scratch), to, w.out)
			continue
		}
		kernels.MatMul(p, m, codes, w.in, w.expand(p, t, scratch, kernels.WantsHalf(), false), 0, to, w.out)
	}
}

func (w *weight8) value(o, i int) float32 {
	const width = kernels.PanelWidth
	return float32(w.codes[o/width*kernels.HalfLen(w.in, 1)+(i/2*width+o%width)*2+i%2]) * (w.absmax[o] * perCode)
}

func (w *weight8) Rows(dst []float32, ids []int32) {
	for k, o := range ids {
		for i := range w.in {
			dst[k*w.in+i] = w.value(int(o), i)
		}
	}
}

func (w *weight8) Dense(dst []float32) {
	for o := range w.out {
		for i := range w.in {
			dst[o*w.in+i] = w.value(o, i)
		}
	}
}

func (w *weight8) Bytes() int64 { return int64(len(w.codes)) + 4*int64(len(w.absmax)) }

// Free returns the weight's memory. It must not be used afterwards.
func (w *weight8) Free() {
	for _, b := range w.blocks {
		b.Free()
	}
}
