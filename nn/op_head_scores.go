package nn

import "github.com/adaptflow/adaptflow/kernels"

// scoreLogits is score for a step that wants the logits of its labels themselves: the output of a head of one row, such as a reward, is not
// a log-probability. u is the label's row of the head's weight.
func (h *Head) scoreLogits(w *Work, s *headScratch, at, n int) {
	back := h.mode == ModeTrain
	u := s.u[:n*h.D]
	if back {
		clear(u)
		clear(s.ub)
		clear(w.Saved[savedLSE][at : at+n])
	}
	h.tiles(w, s, func(lo, hi int, p kernels.Panels) {
		h.logits(w, s, n, lo, hi, p)
		c := hi - lo
		for i := range n {
			k := int(w.Step.Labels[at+i])
			if k < lo || k >= hi {
				continue
			}
			w.Out[at+i] = s.logits[i*c+k-lo]
			if !back {
				continue
			}
			f := float32(1)
			if h.SoftCap > 0 {
				f = s.slope[i*c+k-lo]
			}
			if lr := h.LowRank; lr != nil {
				kernels.Axpy(nil, f, w.In[h.in.lowB][k*lr.R:(k+1)*lr.R], s.ub[i*lr.R:(i+1)*lr.R])
			}
			h.addRow(w, u[i*h.D:(i+1)*h.D], k, f, s)
		}
	})
	if !back {
		return
	}
	if lr := h.LowRank; lr != nil {
		kernels.Gemm(w.Pool, n, h.D, lr.R, lr.Scale, s.ub, lr.R, 1, w.In[h.in.lowA], h.D, 1, 1, u, h.D)
	}
	copy(w.Saved[savedU][at*h.D:], u)
}
