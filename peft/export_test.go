package peft

import (
	"fmt"
	"math"
)

// UsePrincipal gives PSOFT at a module the A [r, in] and B [out, r] that another program computed, after it has found them equal to its own
// but for the signs of pairs of singular vectors, which are free.
func UsePrincipal(a *Adapter, name string, left, right []float32) error {
	p := a.Method.(*psoft).seen[name]
	if p == nil {
		return fmt.Errorf("no PSOFT at %s", name)
	}
	p.decompose()
	for k := range p.r {
		sign, worst := 0.0, 0.0
		for j := range p.in {
			sign += float64(p.a[k*p.in+j]) * float64(left[k*p.in+j])
		}
		sign = math.Copysign(1, sign)
		for j := range p.in {
			worst = max(worst, math.Abs(sign*float64(p.a[k*p.in+j])-float64(left[k*p.in+j])))
		}
		for i := range p.out {
			worst = max(worst, math.Abs(sign*float64(p.b[i*p.r+k])-float64(right[i*p.r+k])))
		}
		if worst > 1e-4 {
			return fmt.Errorf("%s: singular vectors %d differ by %g", name, k, worst)
		}
	}
	p.a, p.b = left, right
	return nil
}

// Principal is the A [r, in] and B [out, r] of PSOFT at a module.
func Principal(a *Adapter, name string) (left, right []float32, r int, ok bool) {
	m, ok := a.Method.(*psoft)
	if !ok || m.seen[name] == nil {
		return nil, nil, 0, false
	}
	p := m.seen[name]
	if p.a == nil {
		p.decompose()
	}
	return p.a, p.b, p.r, true
}
