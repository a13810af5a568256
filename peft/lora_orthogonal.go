package peft

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/nn"
)

// startOrthogonal splits the rows of a random orthogonal matrix Q [r, r] into the odd and the even ones, so that (X·Q_odd)ᵀ and Y·Q_even
// span orthogonal spaces: X [in, r/2] and Y [out, r/2] are normal, the products are divided by 10.
func startOrthogonal(l *lora, p *pair, _ nn.Site) error {
	if p.r%2 != 0 {
		return fmt.Errorf("peft: LORA: init_lora_weights \"orthogonal\" needs an even rank, %s has %d", p.name, p.r)
	}
	fill := func(d []float32, rows int, half int, purpose string) {
		x := make([]float32, p.r*p.r)
		philox.NewKey(l.seed, "orthogonal", p.a.Name).FillNormal(x, 0, 1)
		m := mat.NewDense(p.r, p.r, nil)
		for i, v := range x {
			m.Set(i/p.r, i%p.r, float64(v))
		}
		q := orthogonalColumns(m)
		y := make([]float32, rows*p.r/2)
		philox.NewKey(l.seed, purpose, p.a.Name).FillNormal(y, 0, 1)
		for i := range rows {
			for k := range p.r {
				sum := 0.0
				for j := range p.r / 2 {
					sum += float64(y[i*p.r/2+j]) * q.At(2*j+half, k)
				}
				d[i*p.r+k] = float32(sum / 10)
			}
		}
	}
	p.a.Init = func(d []float32) {
		t := make([]float32, len(d))
		fill(t, p.a.Cols, 0, "orthogonal A")
		copy(d, transpose(t, p.a.Cols, p.r))
	}
	p.b.Init = func(d []float32) { fill(d, p.b.Rows, 1, "orthogonal B") }
	return nil
}
