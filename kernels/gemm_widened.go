package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// widened says whether the job is a product of so few rows with a bfloat16 matrix that a set without tiles of pairs is better off widening
// values in registers than in scratch, once for each panel, and computes it. Values, chunks and their order are the same.
func (j *job) widened(p *pool.Pool) bool {
	if j.h == nil || j.source != fromPanels || j.m > widenedRows() || j.k%2 != 0 {
		return false
	}
	_, _, _ = j.a[(j.m-1)*j.ars+j.k-1], j.h[HalfLen(j.k, j.n)-1], j.c[(j.m-1)*j.ldc+j.n-1]
	if j.m*j.n*j.k < serialWork {
		p = nil
	}
	p.Run(panels(j.n), j.widenedF)
	return true
}

// widenedUnit computes all rows of a panel.
func (j *job) widenedUnit(panel int) {
	s := getScratch()
	defer putScratch(s)
	w := min(panelCols, j.n-panel*panelCols)
	b, c := j.h[panel*j.k*panelCols:], j.c[panel*panelCols:]
	for k0 := 0; k0 < j.k; k0 += j.kc {
		k, add := min(j.kc, j.k-k0), j.add || k0 > 0
		j.roundRows(s, 0, j.m, k0, k)
		if w == panelCols {
			fewWidened(j.m, k/2, b[k0*panelCols:], s.a[:], chunk, c, j.ldc, add)
			continue
		}
		s.load(j.m, w, add, c, j.ldc)
		fewWidened(j.m, k/2, b[k0*panelCols:], s.a[:], chunk, s.c[:], panelCols, add)
		s.store(j.m, w, c, j.ldc)
	}
}
