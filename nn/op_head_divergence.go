package nn

import (
	"math"

	"github.com/adaptflow/adaptflow/kernels"
)

// Divergence asks for the generalised Jensen-Shannon divergence of each row's distribution s and that of [Step.Targets], t, whose
// logarithms these are then (Agarwal et al. 2024, arXiv:2306.13649): with m = (1-β)·s + β·t it is β·KL(t, m) + (1-β)·KL(s, m), at β 0
// KL(t, s) and at 1 KL(s, t), as TRL's GKD has it. The head gives it with a minus in the place of log p. Rows beyond the targets have
// log p of their labels.
type Divergence struct{ Beta float64 }

// terms are, of a tile of log s and log t, the sum of the divergence's terms, and into slopes their derivatives in log s. s is room for as
// many values.
func (d *Divergence) terms(logS, logT, s, slopes []float32) (sum float64) {
	copy(s, logS)
	kernels.ExpShift(s, 0)
	switch d.Beta {
	case 0:
		copy(slopes, logT)
		kernels.ExpShift(slopes, 0)
		for j, t := range slopes {
			if t > 0 {
				sum += float64(t) * (float64(logT[j]) - float64(logS[j]))
			}
			slopes[j] = -t
		}
	case 1:
		for j, p := range s {
			x := 0.0
			if p > 0 {
				x = float64(p) * (float64(logS[j]) - float64(logT[j]))
			}
			sum += x
			slopes[j] = float32(x) + p
		}
	default:
		copy(slopes, logT)
		kernels.ExpShift(slopes, 0)
		for j, t := range slopes {
			p := float64(s[j])
			m := math.Log((1-d.Beta)*p + d.Beta*float64(t))
			slopes[j] = 0
			if t > 0 {
				sum += d.Beta * float64(t) * (float64(logT[j]) - m)
			}
			if p > 0 {
				x := (1 - d.Beta) * p * (float64(logS[j]) - m)
				sum += x
				slopes[j] = float32(x)
			}
		}
	}
	return sum
}

// diverge gives, of a row's tile of logits of the tokens [lo, hi), whose log-sum-exp is lse, the terms' sum and slopes in tmp; row becomes
// the tile of log s.
func (h *Head) diverge(st *Step, r, lo, hi int, lse float32, row []float32, tmp *[2][headTile]float32) (sum float64, slopes []float32) {
	for j := range row {
		row[j] -= lse
	}
	slopes = tmp[1][:len(row)]
	if t := h.target(st, r, lo, hi); t != nil {
		return st.Divergence.terms(row, t, tmp[0][:len(row)], slopes), slopes
	}
	clear(slopes)
	if k := int(st.Labels[r]); k >= lo && k < hi {
		sum, slopes[k-lo] = -float64(row[k-lo]), -1
	}
	return sum, slopes
}

// slopeSums are, of n rows from at, the sums over the vocabulary of the divergence's derivatives in log s, into sums; and, where
// divergences is not nil, the divergences.
func (h *Head) slopeSums(w *Work, s *headScratch, at, n int, lse, sums, divergences []float32) {
	total, totals := make([]float64, n), make([]float64, n)
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) {
			var tmp [2][headTile]float32
			x, slopes := h.diverge(w.Step, at+i, lo, hi, lse[i], s.logits[i*c:(i+1)*c], &tmp)
			total[i] += x
			for _, v := range slopes {
				totals[i] += float64(v)
			}
		})
	})
	for i := range n {
		sums[i] = float32(totals[i])
		if divergences != nil {
			divergences[i] = float32(total[i])
		}
	}
}

// divergenceGrad turns a row's tile of logits into the derivatives in the logits of the divergence with a minus, times f.
func (h *Head) divergenceGrad(st *Step, s *headScratch, r, lo, hi int, lse, sum, f float32, row []float32, slopeAt int) {
	var tmp [2][headTile]float32
	_, slopes := h.diverge(st, r, lo, hi, lse, row, &tmp)
	kernels.ExpShift(row, 0)
	for j, p := range row {
		row[j] = f * (float32(p*sum) - slopes[j])
	}
	h.beforeCap(s, row, slopeAt)
}

// scoreDivergence is score for rows that should come near a distribution. The logits are computed three times, so that nothing is kept
// beside what score keeps.
func (h *Head) scoreDivergence(w *Work, s *headScratch, at, n int) {
	h.checkTargets(w.Step)
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) { h.exponentials(w, s, i, s.logits[i*c:(i+1)*c]) })
	})
	h.endStats(w, s, at, n, nil)
	lse, sums := make([]float32, n), make([]float32, n)
	for i := range lse {
		lse[i] = s.max[i] + float32(math.Log(float64(s.sum[i])))
	}
	out := w.Out[at : at+n]
	h.slopeSums(w, s, at, n, lse, sums, out)
	kernels.Scale(nil, -1, out)
	if h.mode != ModeTrain {
		return
	}
	copy(w.Saved[savedLSE][at:], lse)
	u := s.u[:n*h.D]
	clear(u)
	clear(s.ub)
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		w.Pool.Run(n, func(i int) {
			h.divergenceGrad(w.Step, s, at+i, lo, hi, lse[i], sums[i], 1, s.logits[i*c:(i+1)*c], i*c)
		})
		h.products(w, s, n, lo, hi, p, u)
	})
	if lr := h.LowRank; lr != nil {
		kernels.Gemm(w.Pool, n, h.D, lr.R, lr.Scale, s.ub, lr.R, 1, w.In[h.in.lowA], h.D, 1, 1, u, h.D)
	}
	cool(w.Step, u)
	copy(w.Saved[savedU][at*h.D:], u)
}
