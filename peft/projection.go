package peft

import (
	"sync"

	"github.com/adaptflow/adaptflow/internal/torchrand"
)

// projection is a frozen tensor that is made from a seed, or from the base's weight, when it is first used, unless an opened folder has
// brought it.
type projection struct {
	shape []int
	make  func() []float32
	once  sync.Once
	data  []float32
}

func newProjection(fill func() []float32, shape ...int) *projection {
	return &projection{shape: shape, make: fill}
}

// values are the tensor's values; they must not be changed.
func (p *projection) values() []float32 {
	p.once.Do(func() { p.data = p.make() })
	return p.data
}

// load takes the values of an opened folder.
func (p *projection) load(v []float32) {
	p.once.Do(func() {})
	p.data = v
}

// frozen is the tensor as the folder has it under that key.
func (p *projection) frozen(key string, need bool) Frozen {
	return Frozen{Key: key, Shape: p.shape, Values: p.values, Load: p.load, Need: need}
}

// largest are the largest sizes of the targets.
func (u *tuner) largest() (out, in int) {
	for _, t := range u.list {
		out, in = max(out, t.out), max(in, t.in)
	}
	return out, in
}

// sharedProjections are the frozen matrices A [rowsA, in] and B [out, r] of VeRA's kind, for the largest target: He-uniform numbers of
// torch's generator.
func sharedProjections(u *tuner, name string, rowsA, r int, seed uint64, save bool) (a, b *projection) {
	out, in := u.largest()
	both := func() (x, y []float32) {
		g := torchrand.New(seed)
		x, y = make([]float32, rowsA*in), make([]float32, out*r)
		bound := kaimingBound(in, 0)
		g.Uniform(x, -bound, bound)
		bound = kaimingBound(r, 0)
		g.Uniform(y, -bound, bound)
		return x, y
	}
	a = newProjection(func() []float32 { x, _ := both(); return x }, rowsA, in)
	b = newProjection(func() []float32 { _, y := both(); return y }, out, r)
	if save {
		u.frozen = append(u.frozen, a.frozen("base_model."+name+"_A", true), b.frozen("base_model."+name+"_B", true))
	}
	return a, b
}

// scaledProjections is the form ΔW = diag(λb)·B·diag(λd)·A, the parameters being λb [out] and λd, of which the first r are used.
func scaledProjections(t *target, r int, pa, pb *projection, dropout Float) *factors {
	return &factors{r: r, scale: 1, dropout: dropout,
		make: func(p [][]float32, a, b []float32) {
			full := pa.shape[1]
			for k := range r {
				row, d := pa.values()[k*full:], p[1][k]
				for i := range t.in {
					a[k*t.in+i] = d * row[i]
				}
			}
			for o := range t.out {
				for k, x := range pb.values()[o*r : (o+1)*r] {
					b[o*r+k] = p[0][o] * x
				}
			}
		},
		grad: func(p, dp [][]float32, a, b, da, db []float32) {
			full := pa.shape[1]
			for k := 0; dp[1] != nil && k < r; k++ {
				sum, row := 0.0, pa.values()[k*full:]
				for i, g := range da[k*t.in : (k+1)*t.in] {
					sum += float64(g) * float64(row[i])
				}
				dp[1][k] += float32(sum)
			}
			for o := 0; dp[0] != nil && o < t.out; o++ {
				sum := 0.0
				for k, x := range pb.values()[o*r : (o+1)*r] {
					sum += float64(db[o*r+k]) * float64(x)
				}
				dp[0][o] += float32(sum)
			}
		}}
}
