package nn

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

// LowRank is a LoRA pair on the head: logits += Scale·(x·Aᵀ)·Bᵀ with A [R, D] and B [V, R].
type LowRank struct {
	R     int
	Scale float32
}

// Head is the language model's head: logits = x·Wᵀ + bias on the wanted rows of x [T, D].
//
// In ModeLogits its output is the logits, [S, V]. Otherwise it is log p of each row's label, [S, 1] (or its logit: see [Step.Scores]), and
// in ModeTrain it keeps u = ∂log p/∂x, [S, D], so that the backward pass of any loss over log-probabilities is one scaled addition. The
// logits of a chunk of rows exist one tile of the vocabulary at a time, with a running maximum and sum as in FlashAttention (Dao et al.
// 2022), and are never stored.
//
// The inputs are x, then, where asked for: the weight [V, D] (TrainW), the bias [1, V] (TrainBias), the pair A [R, D] and
// B [V, R] (LowRank), the rows that replace those of W (ReplaceRows), [n, D]. What is trainable takes a second pass over the
// tiles in Backward.
type Head struct {
	W           quant.Weight // [V, D]
	Bias        []float32    // [V]
	V, D        int
	SoftCap     float32 // logits = SoftCap·tanh(logits/SoftCap) (Gemma 2); 0 for none
	TrainW      bool
	TrainBias   bool
	LowRank     *LowRank
	ReplaceRows []int32 // token ids, without repetition

	mode  Mode
	in    headInputs
	train bool // something beside x is trainable
	sums  *headSums
}

// What Forward saves for Backward.
const (
	savedLSE = iota // [S, 1] log of the sum of the logits' exponentials
	savedU          // [S, D] ∂log p/∂x
)

const (
	headRows = 512  // rows of a chunk
	headTile = 3072 // columns of a tile, a multiple of 48
)

func (h *Head) setMode(b *Builder) { h.mode = b.mode }

// headInputs are the places of the head's inputs, those of x first; 0 for one that it does not have.
type headInputs struct{ weight, bias, lowA, lowB, rows int }

// inputs numbers the inputs in the order in which callers hand them over, and counts them with x.
func (h *Head) inputs() (in headInputs, n int) {
	n = 1
	take := func(has bool, places ...*int) {
		if has {
			for _, p := range places {
				*p, n = n, n+1
			}
		}
	}
	take(h.TrainW, &in.weight)
	take(h.TrainBias, &in.bias)
	take(h.LowRank != nil, &in.lowA, &in.lowB)
	take(len(h.ReplaceRows) > 0, &in.rows)
	return in, n
}

// Plan implements Op.
func (h *Head) Plan(in []Shape, want []bool) Plan {
	var n int
	if h.in, n = h.inputs(); len(in) != n {
		panic(fmt.Sprintf("nn: the head takes %d inputs, got %d", n, len(in)))
	}
	p := Plan{Out: Shape{Rows: S, Cols: 1}, ReadsIn: make([]bool, len(in))}
	if h.mode == ModeLogits {
		p.Out.Cols = h.V
	}
	for _, wt := range want[1:] {
		h.train = h.train || wt
	}
	if h.mode == ModeTrain {
		p.Saved = []Shape{{Rows: S, Cols: 1}, {Rows: S, Cols: h.D}}
		p.ReadsIn[0] = h.train
		for i := 1; i < len(in); i++ {
			p.ReadsIn[i] = true
		}
	}
	p.Scratch = func(c Caps, _ int) int { return h.scratch(nil, min(headRows, max(c.S, 1))).total }
	if !h.TrainW {
		p.Held = func(c Caps) kernels.Held { return quant.Held(h.W, min(headRows, c.S), headTile) }
	}
	return p
}

// headScratch are the parts of the scratch memory of one chunk.
type headScratch struct {
	x, logits, max, sum, u []float32
	slope                  []float32 // 1 - tanh², for SoftCap
	xa, ub, rep, dx        []float32
	weight                 []float32
	total                  int
}

func (h *Head) scratch(mem []float32, rows int) headScratch {
	var s headScratch
	take := func(n int) []float32 {
		n = (n + 31) &^ 31
		s.total += n
		if mem == nil {
			return nil
		}
		p := mem[:n:n]
		mem = mem[n:]
		return p
	}
	s.x = take(rows * h.D)
	s.logits = take(rows * headTile)
	s.max, s.sum = take(rows), take(rows)
	s.u = take(rows * h.D)
	s.dx = take(rows * h.D)
	if h.SoftCap > 0 {
		s.slope = take(rows * headTile)
	}
	if h.LowRank != nil {
		s.xa, s.ub = take(rows*h.LowRank.R), take(rows*h.LowRank.R)
	}
	if len(h.ReplaceRows) > 0 {
		s.rep = take(rows * len(h.ReplaceRows))
	}
	if h.W != nil {
		s.weight = take(h.W.ScratchLen())
	}
	return s
}

// tiles calls f for each range [lo, hi) of the vocabulary with the panels of those rows of W (empty when it is trained).
func (h *Head) tiles(w *Work, s *headScratch, f func(lo, hi int, panels kernels.Panels)) {
	if h.TrainW {
		for lo := 0; lo < h.V; lo += headTile {
			f(lo, min(lo+headTile, h.V), kernels.Panels{})
		}
		return
	}
	for t := range h.W.Tiles() {
		first, end := h.W.TileRange(t)
		p := h.W.Acquire(w.Pool, t, s.weight)
		for lo := first; lo < end; lo += headTile {
			hi := min(lo+headTile, end)
			f(lo, hi, p.Columns(lo-first, hi-first))
		}
		h.W.Release(t)
	}
}

// logits computes the logits of n rows s.x for the columns [lo, hi) into s.logits [n, hi-lo], and s.slope.
func (h *Head) logits(w *Work, s *headScratch, n, lo, hi int, panels kernels.Panels) {
	c := hi - lo
	l := s.logits[:n*c]
	if h.TrainW {
		kernels.Gemm(w.Pool, n, c, h.D, 1, s.x, h.D, 1, w.In[h.in.weight][lo*h.D:], 1, h.D, 0, l, c)
	} else {
		kernels.MatMul(w.Pool, n, s.x, h.D, panels, 0, l, c)
	}
	if lr := h.LowRank; lr != nil {
		kernels.Gemm(w.Pool, n, c, lr.R, lr.Scale, s.xa, lr.R, 1, w.In[h.in.lowB][lo*lr.R:], 1, lr.R, 1, l, c)
	}
	for j, id := range h.ReplaceRows {
		if int(id) < lo || int(id) >= hi {
			continue
		}
		row := w.In[h.in.rows][j*h.D : (j+1)*h.D]
		for i := range n {
			v := kernels.Dot(s.x[i*h.D:(i+1)*h.D], row)
			if h.LowRank != nil {
				v += float64(h.LowRank.Scale) * kernels.Dot(s.xa[i*h.LowRank.R:(i+1)*h.LowRank.R],
					w.In[h.in.lowB][int(id)*h.LowRank.R:(int(id)+1)*h.LowRank.R])
			}
			l[i*c+int(id)-lo] = float32(v)
		}
	}
	bias := h.Bias
	if h.TrainBias {
		bias = w.In[h.in.bias]
	}
	if bias != nil {
		kernels.AddBias(w.Pool, l, n, c, bias[lo:hi])
	}
	if h.SoftCap > 0 {
		for i, v := range l {
			t := float32(math.Tanh(float64(v / h.SoftCap)))
			l[i] = h.SoftCap * t
			s.slope[i] = 1 - float32(t*t)
		}
	}
	if t := heat(w.Step); t != 1 {
		for i := range l {
			l[i] /= t
		}
	}
}

// heat is the temperature of a step.
func heat(s *Step) float32 {
	if s.Temperature > 0 {
		return s.Temperature
	}
	return 1
}

// cool turns derivatives in logits that the temperature has divided into those in the logits themselves.
func cool(s *Step, u []float32) {
	if t := heat(s); t != 1 {
		kernels.Scale(nil, 1/t, u)
	}
}

// products adds g·W for the columns [lo, hi) of g [n, hi-lo] to out [n, D], and g·B to ub [n, R].
func (h *Head) products(w *Work, s *headScratch, n, lo, hi int, panels kernels.Panels, out []float32) {
	c := hi - lo
	g := s.logits[:n*c]
	if lr := h.LowRank; lr != nil {
		kernels.Gemm(w.Pool, n, lr.R, c, 1, g, c, 1, w.In[h.in.lowB][lo*lr.R:], lr.R, 1, 1, s.ub, lr.R)
	}
	nrep := len(h.ReplaceRows)
	for j, id := range h.ReplaceRows {
		if int(id) < lo || int(id) >= hi {
			continue
		}
		row := w.In[h.in.rows][j*h.D : (j+1)*h.D]
		for i := range n {
			v := g[i*c+int(id)-lo]
			s.rep[i*nrep+j] = v
			g[i*c+int(id)-lo] = 0
			kernels.Axpy(nil, v, row, out[i*h.D:(i+1)*h.D])
		}
	}
	if h.TrainW {
		kernels.Gemm(w.Pool, n, h.D, c, 1, g, c, 1, w.In[h.in.weight][lo*h.D:], h.D, 1, 1, out, h.D)
	} else {
		kernels.MatMulT(w.Pool, n, g, c, panels, 1, out, h.D)
	}
	// Restored for the gradients of the bias and of the pair.
	for j, id := range h.ReplaceRows {
		if int(id) >= lo && int(id) < hi {
			for i := range n {
				g[i*c+int(id)-lo] = s.rep[i*nrep+j]
			}
		}
	}
}

func (h *Head) gather(w *Work, s *headScratch, at, n int) {
	for i := range n {
		r := int(w.Step.Rows[at+i])
		copy(s.x[i*h.D:(i+1)*h.D], w.In[0][r*h.D:(r+1)*h.D])
	}
	if lr := h.LowRank; lr != nil {
		kernels.Gemm(w.Pool, n, lr.R, h.D, 1, s.x, h.D, 1, w.In[h.in.lowA], 1, h.D, 0, s.xa, lr.R)
	}
}

// Forward implements Op.
func (h *Head) Forward(w *Work) {
	total := len(w.Step.Rows)
	s := h.scratch(w.Scratch, min(headRows, max(total, 1)))
	for at := 0; at < total; at += headRows {
		n := min(headRows, total-at)
		h.gather(w, &s, at, n)
		if h.mode == ModeLogits {
			h.tiles(w, &s, func(lo, hi int, p kernels.Panels) {
				h.logits(w, &s, n, lo, hi, p)
				for i := range n {
					copy(w.Out[(at+i)*h.V+lo:], s.logits[i*(hi-lo):(i+1)*(hi-lo)])
				}
			})
			continue
		}
		h.score(w, &s, at, n)
	}
}

// score computes log p of the labels of n rows from at, and u in ModeTrain.
func (h *Head) score(w *Work, s *headScratch, at, n int) {
	for i := range n {
		s.max[i], s.sum[i] = float32(math.Inf(-1)), 0
		if l := w.Step.Labels[at+i]; l < 0 || int(l) >= h.V {
			panic(fmt.Sprintf("nn: label %d at row %d, but the vocabulary has %d", l, at+i, h.V))
		}
	}
	if w.Step.Scores {
		h.scoreLogits(w, s, at, n)
		return
	}
	h.beginStats(w.Step)
	if w.Step.Divergence != nil {
		h.scoreDivergence(w, s, at, n)
		return
	}
	if w.Step.Targets != nil && h.mode == ModeTrain {
		h.scoreTargets(w, s, at, n)
		return
	}
	picked, slope := w.Out[at:at+n], []float32(nil)
	back := h.mode == ModeTrain
	u := s.u[:n*h.D]
	if back {
		clear(u)
		clear(s.ub)
		if h.SoftCap > 0 {
			slope = w.Saved[savedLSE][at : at+n] // of the label's logit, until the log-sum-exp takes its place
		}
	}
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) {
			row := s.logits[i*c : (i+1)*c]
			if k := int(w.Step.Labels[at+i]); k >= lo && k < hi {
				picked[i] = row[k-lo]
				if slope != nil {
					slope[i] = s.slope[i*c+k-lo]
				}
			}
			old := h.exponentials(w, s, i, row)
			if back {
				if old != 1 {
					kernels.Scale(nil, old, u[i*h.D:(i+1)*h.D])
					if h.LowRank != nil {
						kernels.Scale(nil, old, s.ub[i*h.LowRank.R:(i+1)*h.LowRank.R])
					}
				}
				if h.SoftCap > 0 {
					for j, v := range s.slope[i*c : (i+1)*c] {
						row[j] *= v
					}
				}
			}
		})
		if back {
			h.products(w, s, n, lo, hi, p, u)
		}
	})
	h.endStats(w, s, at, n, picked)
	for i := range n {
		lse := s.max[i] + float32(math.Log(float64(s.sum[i])))
		picked[i] -= lse
		if !back {
			continue
		}
		k := int(w.Step.Labels[at+i])
		f := float32(1)
		if slope != nil {
			f = slope[i]
		}
		w.Saved[savedLSE][at+i] = lse
		ui := u[i*h.D : (i+1)*h.D]
		kernels.Scale(nil, -1/s.sum[i], ui)
		if lr := h.LowRank; lr != nil { // ub = f·B[label] - ub/sum, and its product with A below
			ub := s.ub[i*lr.R : (i+1)*lr.R]
			kernels.Scale(nil, -1/s.sum[i], ub)
			kernels.Axpy(nil, f, w.In[h.in.lowB][k*lr.R:(k+1)*lr.R], ub)
		}
		h.addRow(w, ui, k, f, s)
	}
	if back {
		if lr := h.LowRank; lr != nil {
			kernels.Gemm(w.Pool, n, h.D, lr.R, lr.Scale, s.ub, lr.R, 1, w.In[h.in.lowA], h.D, 1, 1, u, h.D)
		}
		cool(w.Step, u)
		copy(w.Saved[savedU][at*h.D:], u)
	}
}

// addRow adds f times the row of W that stands for token id to dst.
func (h *Head) addRow(w *Work, dst []float32, id int, f float32, s *headScratch) {
	for j, r := range h.ReplaceRows {
		if int(r) == id {
			kernels.Axpy(nil, f, w.In[h.in.rows][j*h.D:(j+1)*h.D], dst)
			return
		}
	}
	if h.TrainW {
		kernels.Axpy(nil, f, w.In[h.in.weight][id*h.D:(id+1)*h.D], dst)
		return
	}
	row := s.dx[:h.D]
	h.W.Rows(row, []int32{int32(id)})
	kernels.Axpy(nil, f, row, dst)
}

// Backward implements Op.
func (h *Head) Backward(w *Work) {
	total := len(w.Step.Rows)
	if dx := w.DIn[0]; dx != nil {
		for i, r := range w.Step.Rows {
			kernels.Axpy(nil, w.DOut[i], w.Saved[savedU][i*h.D:(i+1)*h.D], dx[int(r)*h.D:(int(r)+1)*h.D])
		}
	}
	if !h.train {
		return
	}
	s := h.scratch(w.Scratch, min(headRows, max(total, 1)))
	for at := 0; at < total; at += headRows {
		h.weights(w, &s, at, min(headRows, total-at))
	}
}

// weights adds the gradients of what is trainable, for n rows from at: the logits are computed again, a tile at a time.
func (h *Head) weights(w *Work, s *headScratch, at, n int) {
	h.gather(w, s, at, n)
	clear(s.ub)
	var sums []float32
	if w.Step.Divergence != nil {
		sums = make([]float32, n)
		h.slopeSums(w, s, at, n, w.Saved[savedLSE][at:], sums, nil)
	}
	grad := func(i int) []float32 {
		if i < len(w.DIn) {
			return w.DIn[i]
		}
		return nil
	}
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) {
			row, slope := s.logits[i*c:(i+1)*c], w.DOut[at+i]/heat(w.Step)
			switch {
			case sums != nil:
				h.divergenceGrad(w.Step, s, at+i, lo, hi, w.Saved[savedLSE][at+i], sums[i], slope, row, i*c)
				return
			case w.Step.Scores:
				clear(row)
			default:
				kernels.ExpShift(row, w.Saved[savedLSE][at+i])
				kernels.Scale(nil, -slope, row)
			}
			h.addTarget(w, s, at+i, lo, hi, slope, row, i*c)
		})
		g := s.logits[:n*c]
		if h.TrainBias && grad(h.in.bias) != nil {
			kernels.ColSum(w.Pool, grad(h.in.bias)[lo:hi], g, n, c)
		}
		if lr := h.LowRank; lr != nil {
			b := h.in.lowB
			if d := grad(b); d != nil { // dB = Scale·gᵀ·(x·Aᵀ)
				kernels.Gemm(w.Pool, c, lr.R, n, lr.Scale, g, 1, c, s.xa, lr.R, 1, 1, d[lo*lr.R:], lr.R)
			}
			kernels.Gemm(w.Pool, n, lr.R, c, 1, g, c, 1, w.In[b][lo*lr.R:], lr.R, 1, 1, s.ub, lr.R)
		}
		for j, id := range h.ReplaceRows {
			if int(id) < lo || int(id) >= hi {
				continue
			}
			for i := range n {
				v := g[i*c+int(id)-lo]
				if d := grad(h.in.rows); d != nil {
					kernels.Axpy(nil, v, s.x[i*h.D:(i+1)*h.D], d[j*h.D:(j+1)*h.D])
				}
				g[i*c+int(id)-lo] = 0
			}
		}
		if h.TrainW && grad(h.in.weight) != nil { // dW = gᵀ·x
			kernels.Gemm(w.Pool, c, h.D, n, 1, g, 1, c, s.x, h.D, 1, 1, grad(h.in.weight)[lo*h.D:], h.D)
		}
	})
	if lr := h.LowRank; lr != nil {
		if d := grad(h.in.lowA); d != nil { // dA = Scale·(g·B)ᵀ·x
			kernels.Gemm(w.Pool, lr.R, h.D, n, lr.Scale, s.ub, 1, lr.R, s.x, h.D, 1, 1, d, h.D)
		}
	}
}
