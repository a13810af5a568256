package peft

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
)

// term is one adapter's pair at a module: A [r, cols], B [rows, r].
type term struct {
	index         int
	rows, cols, r int
	a, b          []float32
	weight, scale float64
}

// combine makes the new pair A [rank, cols] and B [rows, rank] of one module.
func (c *Combination) combine(row sparsify, svd bool, ts []term, rank int, name string) (a, b []float32, err error) {
	rows, cols := ts[0].rows, ts[0].cols
	switch {
	case row.cat:
		a, b = make([]float32, rank*cols), make([]float32, rows*rank)
		at := 0
		for _, t := range ts {
			f := float32(t.weight * t.scale)
			for i, v := range t.a {
				a[at*cols+i] = f * v
			}
			for i := range rows {
				copy(b[i*rank+at:], t.b[i*t.r:(i+1)*t.r])
			}
			at += t.r
		}
		return a, b, nil
	case svd:
		var deltas [][]float32
		var weights []float32
		for _, t := range ts {
			d := make([]float32, rows*cols)
			kernels.Gemm(nil, rows, cols, t.r, float32(t.scale), t.b, t.r, 1, t.a, cols, 1, 0, d, cols)
			deltas, weights = append(deltas, d), append(weights, float32(t.weight))
		}
		return c.factor(c.mix(row, deltas, weights, name+".delta", ts), rows, cols, rank, name)
	}
	for _, t := range ts {
		if t.r != rank {
			return nil, nil, fmt.Errorf("peft: %s has the rank %d in one adapter and %d in another; use a type that ends in svd",
				name, t.r, rank)
		}
	}
	var as, bs [][]float32
	var wa, wb []float32
	for _, t := range ts {
		w := t.weight * t.scale
		s := math.Sqrt(math.Abs(w))
		wb = append(wb, float32(s))
		if w < 0 { // the sign on one side only
			s = -s
		}
		wa = append(wa, float32(s))
		as, bs = append(as, t.a), append(bs, t.b)
	}
	return c.mix(row, as, wa, name+".A", ts), c.mix(row, bs, wb, name+".B", ts), nil
}

// mix sparsifies task tensors of one shape and adds them with their weights.
func (c *Combination) mix(row sparsify, xs [][]float32, weights []float32, name string, ts []term) []float32 {
	for i, x := range xs {
		switch {
		case c.Density >= 1:
		case row.magnitude:
			xs[i] = keepLargest(x, int(c.Density*float64(len(x))))
		case row.random:
			xs[i] = keepRandom(x, c.Density, philox.NewKey(c.Seed, "dare", fmt.Sprintf("%s/%d", name, ts[i].index)))
		}
	}
	out := make([]float32, len(xs[0]))
	for i := range out {
		if !row.elect {
			for k, x := range xs {
				out[i] += float32(x[i] * weights[k])
			}
			continue
		}
		total, n := float32(0), float32(0)
		for _, x := range xs {
			if c.MajoritySignMethod == "frequency" {
				total += sign(x[i])
			} else {
				total += x[i]
			}
		}
		elected := float32(1)
		if total < 0 {
			elected = -1
		}
		for k, x := range xs {
			if sign(x[i]) == elected {
				out[i] += float32(x[i] * weights[k])
				n++
			}
		}
		out[i] /= max(n, 1)
	}
	return out
}

// sign is -1, 0 or 1.
func sign(x float32) float32 { return float32(cmp.Compare(x, 0)) }

// keepLargest keeps the k values of largest magnitude, of equals the first.
func keepLargest(x []float32, k int) []float32 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	abs := func(i int) float64 { return math.Abs(float64(x[i])) }
	sort.SliceStable(order, func(i, j int) bool { return abs(order[i]) > abs(order[j]) })
	out := make([]float32, len(x))
	for _, i := range order[:k] {
		out[i] = x[i]
	}
	return out
}

// keepRandom keeps each value with the probability density and scales it by 1/density.
func keepRandom(x []float32, density float64, key philox.Key) []float32 {
	out := make([]float32, len(x))
	key.FillUniform(out, 0, 1)
	for i, u := range out {
		out[i] = 0
		if float64(u) < density {
			out[i] = x[i] / float32(density)
		}
	}
	return out
}

// factor makes A [rank, cols] and B [rows, rank] of the singular value decomposition of d [rows, cols]: B = U·S, A = Vᵀ.
func (c *Combination) factor(d []float32, rows, cols, rank int, name string) (a, b []float32, err error) {
	if rank > min(rows, cols) {
		return nil, nil, fmt.Errorf("peft: the rank %d is above the dimensions [%d, %d] of %s", rank, rows, cols, name)
	}
	m := mat.NewDense(rows, cols, nil)
	for i, v := range d {
		m.Set(i/cols, i%cols, float64(v))
	}
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDThin) {
		return nil, nil, fmt.Errorf("peft: the singular value decomposition of %s failed", name)
	}
	var u, v mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	s := svd.Values(nil)
	a, b = make([]float32, rank*cols), make([]float32, rows*rank)
	for k := range rank {
		for j := range cols {
			a[k*cols+j] = float32(v.At(j, k))
		}
		for i := range rows {
			b[i*rank+k] = float32(u.At(i, k) * s[k])
		}
	}
	if c.SVDClamp > 0 {
		hi := quantile(append(slices.Clone(b), a...), c.SVDClamp)
		for _, x := range [][]float32{a, b} {
			for i, v := range x {
				x[i] = min(max(v, -hi), hi)
			}
		}
	}
	return a, b, nil
}

// quantile is torch.quantile's, with linear interpolation. x is sorted.
func quantile(x []float32, q float64) float32 {
	slices.Sort(x)
	at := q * float64(len(x)-1)
	i := int(at)
	if i+1 == len(x) {
		return x[i]
	}
	return x[i] + float32(float64(x[i+1]-x[i])*(at-float64(i)))
}
