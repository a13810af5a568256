package peft

import "sync"

// projection is a frozen tensor that is made from a seed, or from the base's weight, when it is first used, unless an opened folder has brought it.
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
