package peft

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/nn"
)

// startOlora takes the first r columns of Q and rows of R of W = Q·R: A = R_r, B = Q_r. Householder's Q_r depends on W's first r columns
// alone.
func startOlora(l *lora, p *pair, s nn.Site) error {
	if l, _ := layoutOf(s.Op); l.Transposed {
		return fmt.Errorf("peft: LORA: init_lora_weights \"olora\" is for torch.nn.Linear, but %s is stored as [in, out] (Conv1D); use "+
			"\"pissa\"", s.Name)
	}
	return l.rebased(p, s, true, func(w []float32) (a, b, _ []float32) {
		out, in, r := p.b.Rows, p.a.Cols, p.r
		m := mat.NewDense(out, r, nil)
		for i := range out {
			for k := range r {
				m.Set(i, k, float64(w[i*in+k]))
			}
		}
		q := orthogonalColumns(m)
		a, b = make([]float32, r*in), make([]float32, out*r)
		for i := range b {
			b[i] = float32(q.At(i/r, i%r))
		}
		sum := make([]float64, in)
		for k := range r {
			clear(sum)
			for o := range out {
				v := q.At(o, k)
				for i, x := range w[o*in : (o+1)*in] {
					sum[i] += float64(v * float64(x))
				}
			}
			for i, v := range sum {
				a[k*in+i] = float32(v)
			}
		}
		return a, b, nil
	})
}
