package nn

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
)

// FirstNonFinite runs the program on s once more and says where the first value comes up that is NaN or infinite: the parameter, or the module whose output has it and how large
// what went into it is. It returns "" where all are finite.
func (p *Program) FirstNonFinite(s *Step, training bool) string {
	for _, q := range p.b.params.all() {
		if i := nonFinite(q.Data); i >= 0 {
			return fmt.Sprintf("the parameter %s holds %g", q.Name, q.Data[i])
		}
	}
	found, site := "", "the input"
	p.probe = func(st *step, w *Work) {
		if found != "" {
			return
		}
		where := "after " + site
		if st.name != "" {
			site, where = st.name, "in "+st.name
		}
		i := nonFinite(w.Out)
		if i < 0 {
			return
		}
		most := float32(0)
		for j, r := range st.in {
			if p.b.values[r].param == nil {
				for _, v := range w.In[j] {
					most = max(most, v, -v)
				}
			}
		}
		found = fmt.Sprintf("%g comes up %s, of values up to %.3g", w.Out[i], where, most)
	}
	defer func() { p.probe = nil }()
	p.Forward(s, training)
	return found
}

// all is List, of no parameters none.
func (p *Params) all() []*Param {
	if p == nil {
		return nil
	}
	return p.List()
}

// Why says why the values of a step are not finite: a weight of the model that is not, or what [Program.FirstNonFinite] finds.
func (p *Program) Why(s *Step, training bool) string {
	if w, ok := p.wiring.(interface{ NonFinite() string }); ok {
		if t := w.NonFinite(); t != "" {
			return t
		}
	}
	if at := p.FirstNonFinite(s, training); at != "" {
		return at
	}
	return "a second pass over the same batch gives finite values: the memory or the processor may be faulty"
}

// nonFinite is the index of the first value that is NaN or infinite, -1 for none.
func nonFinite(x []float32) int {
	return slices.IndexFunc(x, func(v float32) bool { return !(v >= -math.MaxFloat32 && v <= math.MaxFloat32) })
}

// NonFinite is the first parameter with a value that is NaN or infinite, nil for none.
func (p *Params) NonFinite() *Param {
	for _, q := range p.all() {
		if !finite(q.Data) {
			return q
		}
	}
	return nil
}

// SlotNonFinite is NonFinite of one adapter's values.
func (p *Params) SlotNonFinite(slot int) *Param {
	for _, q := range p.all() {
		if !finite(q.Slot(slot)) {
			return q
		}
	}
	return nil
}

// finite says whether all values are finite: at first by a sum, which is fast.
func finite(x []float32) bool {
	s := kernels.SumSquares(x)
	return !math.IsNaN(s) && !math.IsInf(s, 0) || nonFinite(x) < 0
}
