package quant

import (
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/kernels"
)

// Rows writes the rows [lo, hi) of a matrix [out, in] to dst, row-major.
type Rows func(dst []float32, lo, hi int) error

// buildValues is about how many values of a matrix are in memory while it is stored.
const buildValues = 1 << 20

// sink takes the rows of a matrix in order, from a multiple of 48 each time, and makes a weight of them.
type sink interface {
	put(lo int, rows []float32)
	done() Weight
}

// Build stores the matrix [out, in] whose rows come from rows, a few at a time. half says that products may round what they expand to
// bfloat16.
func (s *Storage) Build(out, in int, rows Rows, half bool) (Weight, error) {
	if err := s.whole(in); err != nil {
		return nil, err
	}
	return fill(s.begin(out, in, half), out, in, rows)
}

func fill(k sink, out, in int, rows Rows) (Weight, error) {
	const width = kernels.PanelWidth
	n := max(1, buildValues/(in*width)) * width
	buf := make([]float32, min(n, out)*in)
	for lo := 0; lo < out; lo += n {
		hi := min(lo+n, out)
		if err := rows(buf[:(hi-lo)*in], lo, hi); err != nil {
			if f, ok := k.done().(interface{ Free() }); ok {
				f.Free()
			}
			return nil, err
		}
		k.put(lo, buf[:(hi-lo)*in])
	}
	return k.done(), nil
}

// New stores the matrix [out, in] whose element (o, i) is w[o·rs + i·cs].
func (s *Storage) New(out, in int, w []float32, rs, cs int, half bool) Weight {
	check(out, in, w, rs, cs)
	x, err := s.Build(out, in, RowsOf(in, w, rs, cs), half)
	if err != nil {
		panic(err) // nothing is read
	}
	return x
}

// RowsOf are the rows of the matrix whose element (o, i) is w[o·rs + i·cs].
func RowsOf(in int, w []float32, rs, cs int) Rows {
	return func(dst []float32, lo, hi int) error {
		for o := lo; o < hi; o++ {
			d := dst[(o-lo)*in : (o-lo+1)*in]
			if cs == 1 {
				copy(d, w[o*rs:])
				continue
			}
			for i := range d {
				d[i] = w[o*rs+i*cs]
			}
		}
		return nil
	}
}

// denseSink makes a dense weight.
type denseSink struct {
	in int
	w  *dense
}

func beginDense(half bool) func(out, in int, _ bool) sink {
	return func(out, in int, _ bool) sink {
		return denseSink{in, newDense(out, in, half, mem.Alloc(denseBytes(out, in, half)))}
	}
}

func (s denseSink) put(lo int, rows []float32) {
	n := len(rows) / s.in
	if s.w.panels.Half != nil {
		kernels.PackHalf(s.w.panels.Half[kernels.HalfLen(s.in, lo):], s.in, n, rows, 1, s.in)
	} else {
		kernels.PackPanels(s.w.panels.Data[kernels.PanelsLen(s.in, lo):], s.in, n, rows, 1, s.in)
	}
}

func (s denseSink) done() Weight { return s.w }

// bits4Sink makes a 4-bit weight. Where blocks straddle rows the whole matrix is collected first.
type bits4Sink struct {
	w      *weight4
	double bool
	all    []float32
}

func beginBits4(c *Code4, double bool) func(out, in int, half bool) sink {
	return func(out, in int, half bool) sink {
		q := Bits4{Code: c, Out: out, In: in, BlockSize: BlockSize}
		if in%BlockSize != 0 {
			return &bits4Sink{w: &weight4{q: q, half: half}, double: double, all: make([]float32, 0, out*in)}
		}
		q.Absmax = make([]float32, out*in/BlockSize)
		return &bits4Sink{w: newWeight4(q, half), double: double}
	}
}

func (s *bits4Sink) put(lo int, rows []float32) {
	q := &s.w.q
	if s.all != nil {
		s.all = append(s.all, rows...)
		return
	}
	n := len(rows) / q.In
	part := Scales4(q.Code, rows, n, q.In, q.BlockSize, false)
	copy(q.Absmax[lo*q.In/q.BlockSize:], part.Absmax)
	s.w.put(lo, part.Pack(rows))
}

func (s *bits4Sink) done() Weight {
	q := &s.w.q
	if s.all != nil {
		if len(s.all) < q.Out*q.In { // given up
			return s.w
		}
		return NewBits4(Quantize4(q.Code, s.all, q.Out, q.In, q.BlockSize, s.double), s.w.half)
	}
	if s.double {
		q.nest()
	}
	s.w.own()
	return s.w
}

// int8Sink makes a weight of LLM.int8.
type int8Sink struct{ w *weight8 }

func beginInt8(out, in int, half bool) sink {
	return int8Sink{newWeight8(out, in, Int8Threshold, half)}
}

func (s int8Sink) put(lo int, rows []float32) {
	s.w.put(lo, QuantizeInt8(rows, len(rows)/s.w.in, s.w.in))
}

func (s int8Sink) done() Weight { return s.w }

// own moves the scales out of the Go heap, where codes lie in panels into the order of these.
func (w *weight4) own() {
	if w.q.Absmax == nil {
		return
	}
	if w.codes == nil {
		b := mem.AllocFloat32(len(w.q.Absmax))
		w.blocks = append(w.blocks, b)
		x := b.Float32()
		copy(x, w.q.Absmax)
		w.q.Absmax = x
		return
	}
	const width = kernels.PanelWidth
	perRow := w.q.In / w.q.BlockSize
	b := mem.AllocFloat32((w.q.Out + width - 1) / width * width * perRow)
	w.blocks, w.scales = append(w.blocks, b), b.Float32()
	for i, v := range w.q.Absmax {
		o, k := i/perRow, i%perRow
		w.scales[(o/width*perRow+k)*width+o%width] = v
	}
	w.q.Absmax = nil
}
