package nn

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/mem"
)

// Param is a trainable parameter: a bank of Slots matrices [Rows, Cols], row-major, one an adapter slot.
type Param struct {
	Name              string
	Rows, Cols, Slots int
	Data              []float32 // [Slots, Rows, Cols]
	Grad              []float32 // the same shape; nil until a training program asks for it, and where it is frozen
	Frozen            bool      // not trained: see Params.Freeze

	data, grad *mem.Block
}

// Size is the number of values of one slot.
func (p *Param) Size() int { return p.Rows * p.Cols }

// Slot returns the values of one slot, [Rows, Cols].
func (p *Param) Slot(i int) []float32 { return Bank(p.Data, i, p.Size()) }

// GradSlot returns the gradient of one slot, [Rows, Cols], or nil when there is none.
func (p *Param) GradSlot(i int) []float32 { return Bank(p.Grad, i, p.Size()) }

func (p *Param) wantGrad() {
	if p.Grad == nil && !p.Frozen {
		p.grad = mem.AllocFloat32(len(p.Data))
		p.Grad = p.grad.Float32()
	}
}

// Params holds the parameters of the adapters that one or more programs share, outside the Go heap.
type Params struct {
	slots  int
	list   []*Param
	byName map[string]*Param
	frozen map[string]bool
}

// NewParams returns an empty set whose parameters will have the given number of adapter slots, at least 1.
func NewParams(slots int) *Params {
	if slots < 1 {
		panic(fmt.Sprintf("nn: %d adapter slots", slots))
	}
	return &Params{slots: slots, byName: map[string]*Param{}, frozen: map[string]bool{}}
}

// Slots is the number of adapter slots of each parameter.
func (p *Params) Slots() int { return p.slots }

// List returns the parameters in the order in which the wiring first named them.
func (p *Params) List() []*Param { return p.list }

// Get returns the parameter of that name, or nil.
func (p *Params) Get(name string) *Param { return p.byName[name] }

// Freeze leaves the parameter of that name as it starts or is set: programs compiled afterwards compute no gradient of it, and keep nothing
// for one.
func (p *Params) Freeze(name string) {
	p.frozen[name] = true
	if q := p.byName[name]; q != nil {
		if q.Grad != nil {
			panic("nn: a program trains " + name + " already")
		}
		q.Frozen = true
	}
}

// Count is the number of trainable values of one slot.
func (p *Params) Count() int {
	n := 0
	for _, q := range p.list {
		if !q.Frozen {
			n += q.Size()
		}
	}
	return n
}

// ZeroGrad sets all gradients to zero.
func (p *Params) ZeroGrad() {
	for _, q := range p.list {
		clear(q.Grad)
	}
}

// Free returns the memory of all parameters. Programs that use them must not run afterwards.
func (p *Params) Free() {
	for _, q := range p.list {
		q.data.Free()
		q.grad.Free()
		q.Data, q.Grad = nil, nil
	}
	p.list, p.byName = nil, map[string]*Param{}
}

// Remove frees the parameter of that name, if there is one. Programs that use it must not run afterwards.
func (p *Params) Remove(name string) {
	q := p.byName[name]
	if q == nil {
		return
	}
	q.data.Free()
	q.grad.Free()
	q.Data, q.Grad = nil, nil
	p.list = slices.DeleteFunc(p.list, func(x *Param) bool { return x == q })
	delete(p.byName, name)
}

// Add returns the parameter of that name, made and initialised when new: [rows, cols] a slot, each filled by init, or zeros where that is
// nil. A second use with another shape panics, as does a lack of memory (see internal/mem).
func (p *Params) Add(name string, rows, cols int, init func(dst []float32)) *Param {
	if q := p.byName[name]; q != nil {
		if q.Rows != rows || q.Cols != cols {
			panic(fmt.Sprintf("nn: parameter %s is [%d, %d] and [%d, %d]", name, q.Rows, q.Cols, rows, cols))
		}
		return q
	}
	q := &Param{Name: name, Rows: rows, Cols: cols, Slots: p.slots, Frozen: p.frozen[name]}
	q.data = mem.AllocFloat32(mem.Floats(rows, cols, p.slots))
	q.Data = q.data.Float32()
	if init != nil {
		for i := range p.slots {
			init(q.Slot(i))
		}
	}
	p.list = append(p.list, q)
	p.byName[name] = q
	return q
}
