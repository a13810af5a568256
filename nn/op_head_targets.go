package nn

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
)

// target is the distribution over the tokens [lo, hi) that row r of the step's wanted rows should predict, nil where a label says it:
// labels of virtual tokens have none.
func (h *Head) target(st *Step, r, lo, hi int) []float32 {
	if (r+1)*h.V > len(st.Targets) {
		return nil
	}
	return st.Targets[r*h.V+lo : r*h.V+hi]
}

// addTarget adds f times what row r should predict of the tokens [lo, hi) to grad, and turns grad, which is in the logits after the soft
// cap, into one before it, by the slopes from slopeAt.
func (h *Head) addTarget(w *Work, s *headScratch, r, lo, hi int, f float32, grad []float32, slopeAt int) {
	if q := h.target(w.Step, r, lo, hi); q != nil {
		kernels.Axpy(nil, f, q, grad)
	} else if k := int(w.Step.Labels[r]); k >= lo && k < hi {
		grad[k-lo] += f
	}
	h.beforeCap(s, grad, slopeAt)
}

// beforeCap turns a gradient in the logits after the soft cap, where there is one, into one before it, by the slopes from slopeAt.
func (h *Head) beforeCap(s *headScratch, grad []float32, slopeAt int) {
	if h.SoftCap > 0 {
		for j, v := range s.slope[slopeAt : slopeAt+len(grad)] {
			grad[j] *= v
		}
	}
}

// checkTargets panics where a step's targets are not distributions over the vocabulary, of its rows at most.
func (h *Head) checkTargets(st *Step) {
	if all := len(st.Targets); all%h.V != 0 || all > len(st.Rows)*h.V {
		panic(fmt.Sprintf("nn: %d values of targets for %d rows of a vocabulary of %d", all, len(st.Rows), h.V))
	}
}

// scoreTargets is score for rows that should predict a distribution q rather than a label: the output is Σ q·log p, whose gradient in the
// logits is q - p, as Σ q = 1. The sum of the exponentials is computed first, over all tiles, and the logits once more for u: nothing is
// kept beside what score keeps.
func (h *Head) scoreTargets(w *Work, s *headScratch, at, n int) {
	h.checkTargets(w.Step)
	out := w.Out[at : at+n]
	clear(out)
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) {
			row := s.logits[i*c : (i+1)*c]
			if q := h.target(w.Step, at+i, lo, hi); q != nil {
				out[i] += float32(kernels.Dot(q, row))
			} else if k := int(w.Step.Labels[at+i]); k >= lo && k < hi {
				out[i] = row[k-lo]
			}
			h.exponentials(w, s, i, row)
		})
	})
	h.endStats(w, s, at, n, nil)
	lse := w.Saved[savedLSE][at : at+n]
	for i := range n {
		lse[i] = s.max[i] + float32(math.Log(float64(s.sum[i])))
		out[i] -= lse[i]
	}
	u := s.u[:n*h.D]
	clear(u)
	clear(s.ub)
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) {
			row := s.logits[i*c : (i+1)*c]
			kernels.ExpShift(row, lse[i])
			kernels.Scale(nil, -1, row)
			h.addTarget(w, s, at+i, lo, hi, 1, row, i*c)
		})
		h.products(w, s, n, lo, hi, p, u)
	})
	if lr := h.LowRank; lr != nil {
		kernels.Gemm(w.Pool, n, h.D, lr.R, lr.Scale, s.ub, lr.R, 1, w.In[h.in.lowA], h.D, 1, 1, u, h.D)
	}
	cool(w.Step, u)
	copy(w.Saved[savedU][at*h.D:], u)
}
