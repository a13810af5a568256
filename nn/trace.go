package nn

import (
	"fmt"

	"github.com/adaptflow/adaptflow/kernels"
)

// firstNonFinite runs the program on s once more and says where the first value comes up that is NaN or infinite: the parameter, or the
// module whose output has it and how large what went into it is. It returns "" where all are finite.
func (p *Program) firstNonFinite(s *Step, training bool) string {
	if q := p.b.params.NonFinite(); q != nil {
		return fmt.Sprintf("the parameter %s holds %g", q.Name, q.Data[kernels.NonFinite(q.Data)])
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
		i := kernels.NonFinite(w.Out)
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

// Why says why the values of a step are not finite: a weight of the model, or the parameter or module where the first value comes
// up that is not.
func (p *Program) Why(s *Step, training bool) string {
	if w, ok := p.wiring.(interface{ NonFinite() string }); ok {
		if t := w.NonFinite(); t != "" {
			return t
		}
	}
	if at := p.firstNonFinite(s, training); at != "" {
		return at
	}
	return "a second pass over the same batch gives finite values: the memory or the processor may be faulty"
}

// NonFinite is the first parameter with a value that is NaN or infinite, nil for none.
func (p *Params) NonFinite() *Param {
	return p.nonFinite(func(q *Param) []float32 { return q.Data })
}

// SlotNonFinite is NonFinite of one adapter's values.
func (p *Params) SlotNonFinite(slot int) *Param {
	return p.nonFinite(func(q *Param) []float32 { return q.Slot(slot) })
}

func (p *Params) nonFinite(values func(*Param) []float32) *Param {
	if p == nil {
		return nil
	}
	for _, q := range p.list {
		if kernels.NonFinite(values(q)) >= 0 {
			return q
		}
	}
	return nil
}
