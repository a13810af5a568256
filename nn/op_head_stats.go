package nn

import (
	"math"
	"sync"

	"github.com/adaptflow/adaptflow/kernels"
)

// RowStats is what a head tells of the distribution of each wanted row beside log p, from the tiles of logits that it makes anyway: of
// [Step.Rows] in their order, as many as a slice holds; rows of virtual tokens, which come after them, have none. A slice that is nil is
// not wanted. No gradient goes through them.
type RowStats struct {
	Entropy   []float32 // [S] -Σ p·log p, in nats
	MeanLogit []float32 // [S] the mean over the vocabulary of the logits, after bias and soft cap
	Squares   []float32 // [S] log Σ p²: what the label's log p is compared with in WPO
	Top       []float32 // [S] 1 where no token is likelier than the label, else 0; unset where targets say what is to be predicted
}

// headSums are the sums of a chunk's rows, over the tiles so far: of (l-m)·exp(l-m) with the largest logit m so far, of the logits l, and
// of exp(l-m)².
type headSums struct{ shifted, logits, squares [headRows]float64 }

// rawRow holds a tile of a row's logits while exponentials take its place.
var rawRow = sync.Pool{New: func() any { return new([headTile]float32) }}

// beginStats clears the sums of a chunk where the step wants them.
func (h *Head) beginStats(st *Step) {
	if st.Stats == nil {
		return
	}
	if h.sums == nil {
		h.sums = &headSums{}
	}
	clear(h.sums.shifted[:])
	clear(h.sums.logits[:])
	clear(h.sums.squares[:])
}

// exponentials replaces the logits of row i of a chunk, a tile of them, by exp(l-m), where m is the largest logit of the row so far, and
// brings the row's sum up to date. It returns what the sums before this tile were scaled by.
func (h *Head) exponentials(w *Work, s *headScratch, i int, row []float32) (old float32) {
	var raw *[headTile]float32
	if w.Step.Stats != nil {
		raw = rawRow.Get().(*[headTile]float32)
		copy(raw[:], row)
	}
	m, sum := kernels.ExpRow(row, s.max[i])
	old = kernels.Exp(s.max[i] - m)
	if raw != nil {
		t, total := &h.sums.shifted[i], 0.0
		if s.sum[i] > 0 {
			*t = (*t + float64(s.sum[i])*float64(s.max[i]-m)) * float64(old)
		}
		for j, l := range raw[:len(row)] {
			total += float64(l)
			raw[j] = l - m
		}
		*t += kernels.Dot(row, raw[:len(row)])
		h.sums.logits[i] += total
		if w.Step.Stats.Squares != nil {
			h.sums.squares[i] = h.sums.squares[i]*float64(old)*float64(old) + kernels.Dot(row, row)
		}
		rawRow.Put(raw)
	}
	s.max[i], s.sum[i] = m, s.sum[i]*old+sum
	return old
}

// endStats writes what the step wants to know of the n rows from at, picked being the logits of their labels; nil where there are none.
func (h *Head) endStats(w *Work, s *headScratch, at, n int, picked []float32) {
	st := w.Step.Stats
	if st == nil {
		return
	}
	for i := range n {
		if at+i < len(st.Entropy) {
			sum := float64(s.sum[i])
			st.Entropy[at+i] = float32(math.Log(sum) - h.sums.shifted[i]/sum)
		}
		if at+i < len(st.MeanLogit) {
			st.MeanLogit[at+i] = float32(h.sums.logits[i] / float64(h.V))
		}
		if at+i < len(st.Squares) {
			st.Squares[at+i] = float32(math.Log(h.sums.squares[i]) - 2*math.Log(float64(s.sum[i])))
		}
		if at+i < len(st.Top) && picked != nil {
			st.Top[at+i] = 0
			if picked[i] >= s.max[i] {
				st.Top[at+i] = 1
			}
		}
	}
}
