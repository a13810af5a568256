package peft

import (
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// loraEmbeddingOp is out = y + scale·A[:, token]·Bᵀ beside an embedding. The inputs are the base's output y [T, D] and the
// banks of A [r, V] and B [D, r]. HF applies no dropout here. With positions set, it looks up positions, not tokens.
type loraEmbeddingOp struct {
	v, d, r   int
	scale     float32
	positions bool
}

// Plan implements nn.Op.
func (o *loraEmbeddingOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	rows := in[0]
	return nn.Plan{
		Out:     in[0],
		ReadsIn: []bool{false, false, want[1]},
		Saved:   []nn.Shape{{Rows: rows.Rows, Count: rows.Count, Cols: o.r}},
		Pass:    []bool{true, false, false},
		InPlace: []bool{true, false, false},
		Scratch: func(c nn.Caps, _ int) int { return rows.At(c) * o.r },
	}
}

func (o *loraEmbeddingOp) ids(w *nn.Work) []int32 {
	if o.positions {
		return w.Step.Positions
	}
	return w.Step.Tokens
}

// Forward implements nn.Op.
func (o *loraEmbeddingOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	ids, u := o.ids(w), w.Saved[0]
	w.EachSegment(func(start, end, slot int) {
		if slot < 0 || start == end {
			return
		}
		a, b := nn.Bank(w.In[1], slot, o.r*o.v), nn.Bank(w.In[2], slot, o.d*o.r)
		gather(u, a, ids, start, end, o.r, o.v)
		kernels.Gemm(w.Pool, end-start, o.d, o.r, o.scale, u[start*o.r:], o.r, 1, b, 1, o.r, 1, w.Out[start*o.d:], o.d)
	})
}

// Backward implements nn.Op.
func (o *loraEmbeddingOp) Backward(w *nn.Work) {
	ids := o.ids(w)
	du := w.Scratch
	w.EachSegment(func(start, end, slot int) {
		if slot < 0 || start == end {
			return
		}
		n := end - start
		if w.DIn[2] != nil {
			kernels.Gemm(w.Pool, o.d, o.r, n, o.scale, w.DOut[start*o.d:], 1, o.d, w.Saved[0][start*o.r:], o.r, 1, 1,
				nn.Bank(w.DIn[2], slot, o.d*o.r), o.r)
		}
		if w.DIn[1] == nil {
			return
		}
		kernels.Gemm(w.Pool, n, o.r, o.d, o.scale, w.DOut[start*o.d:], o.d, 1, nn.Bank(w.In[2], slot, o.d*o.r), o.r, 1, 0,
			du[start*o.r:], o.r)
		scatter(nn.Bank(w.DIn[1], slot, o.r*o.v), du, ids, start, end, o.r, o.v)
	})
}

// gather copies the columns of a [r, n] at the ids of the rows from start to end to u [T, r].
func gather(u, a []float32, ids []int32, start, end, r, n int) {
	for t := start; t < end; t++ {
		for k := range r {
			u[t*r+k] = a[k*n+int(ids[t])]
		}
	}
}

// scatter adds the rows du [T, r] to the columns of da [r, n] at their ids.
func scatter(da, du []float32, ids []int32, start, end, r, n int) {
	for t := start; t < end; t++ {
		for k := range r {
			da[k*n+int(ids[t])] += du[t*r+k]
		}
	}
}
