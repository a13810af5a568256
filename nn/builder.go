package nn

import "fmt"

// Mode says what a program is for.
type Mode uint8

// The modes of a program.
const (
	ModeTrain  Mode = iota // log-probabilities of the labels, and a backward pass
	ModeScore              // log-probabilities of the labels
	ModeLogits             // logits of the wanted rows
)

type value struct {
	shape Shape
	param *Param
	from  int  // step that makes it, -1 for a parameter
	grad  bool // a gradient of it is wanted
}

type step struct {
	op    Op
	name  string
	in    []Ref
	out   Ref
	plan  Plan
	want  []bool
	block int // checkpoint block, -1 outside
	scope *Scope
}

// sets says whether Backward may write the gradient of input j, where nothing is there yet.
func (s *step) sets(j int) bool {
	if s.plan.Sets == nil || !s.plan.Sets[j] || s.plan.Pass != nil && s.plan.Pass[j] {
		return false
	}
	for k, r := range s.in {
		if k != j && r == s.in[j] { // both are added
			return false
		}
	}
	return true
}

// Builder records the forward wiring of a program.
type Builder struct {
	params   *Params
	adapters []Adapter
	mode     Mode
	cache    bool
	cached   DType // of the KV cache
	values   []value
	steps    []step
	block    int
	blocks   int
	refs     map[string]Ref
	once     map[string]Ref
	sites    *[]Site
	out      Ref
	done     bool
	half     []bool // values rounded to bfloat16
	scope    *Scope // of the adapter that is wired now
}

func newBuilder(params *Params, adapters []Adapter, mode Mode, cache bool) *Builder {
	return &Builder{params: params, adapters: adapters, mode: mode, cache: cache, block: -1, refs: map[string]Ref{},
		once: map[string]Ref{}, out: NoRef}
}

// Mode is what the program is for.
func (b *Builder) Mode() Mode { return b.mode }

// Cache says whether attention keeps a KV cache.
func (b *Builder) Cache() bool { return b.cache }

// Slots is the number of adapter slots of each parameter.
func (b *Builder) Slots() int {
	if b.params == nil {
		return 1
	}
	return b.params.slots
}

// Once returns the value that f makes on the first call with that name in this program, and the same value afterwards: what several sites
// share, such as an encoder's output.
func (b *Builder) Once(name string, f func() Ref) Ref {
	r, ok := b.once[name]
	if !ok {
		r = f()
		b.once[name] = r
	}
	return r
}

// Shape is the shape of a value.
func (b *Builder) Shape(r Ref) Shape { return b.values[r].shape }

// Apply appends op to the program and returns its output.
func (b *Builder) Apply(op Op, in ...Ref) Ref {
	shapes := make([]Shape, len(in))
	want := make([]bool, len(in))
	any := false
	for i, r := range in {
		if r < 0 || int(r) >= len(b.values) {
			panic(fmt.Sprintf("nn: input %d of %T is not a value of this program", i, op))
		}
		shapes[i] = b.values[r].shape
		want[i] = b.mode == ModeTrain && b.values[r].grad
		any = any || want[i]
	}
	if a, ok := op.(interface{ setMode(*Builder) }); ok {
		a.setMode(b)
	}
	p := op.Plan(shapes, want)
	if !any {
		p.ReadsIn, p.ReadsOut = nil, false
	}
	out := Ref(len(b.values))
	b.values = append(b.values, value{shape: p.Out, from: len(b.steps), grad: any})
	b.steps = append(b.steps, step{op: op, in: append([]Ref(nil), in...), out: out, plan: p, want: want, block: b.block, scope: b.scope})
	return out
}

// Site applies op and offers the result to the adapters, each of which sees what the one before it returned.
// A nil op makes a site of the value in[0].
func (b *Builder) Site(kind Kind, name string, layer int, op Op, in ...Ref) Ref {
	s := Site{Kind: kind, Name: name, Layer: layer, Op: op, In: in}
	if op == nil {
		s.Out = in[0]
	} else {
		s.Out = b.Apply(op, in...)
		b.steps[len(b.steps)-1].name = name
	}
	if b.sites != nil {
		*b.sites = append(*b.sites, s)
	}
	for _, a := range b.adapters {
		s.Out = a.Adapt(b, s)
	}
	return s.Out
}

// Param returns the trainable parameter of that name, [rows, cols] a slot. The same name is the same parameter.
// init fills one slot when the parameter is new; nil leaves zeros. One that [Params.Freeze] names is read only.
func (b *Builder) Param(name string, rows, cols int, init func(dst []float32)) Ref {
	name = b.paramName(name)
	if r, ok := b.refs[name]; ok {
		if s := b.values[r].shape; s.Count != rows || s.Cols != cols {
			panic(fmt.Sprintf("nn: parameter %s is [%d, %d] and [%d, %d]", name, s.Count, s.Cols, rows, cols))
		}
		return r
	}
	r := Ref(len(b.values))
	v := value{shape: Shape{Count: rows, Cols: cols}, from: -1, grad: true}
	if b.sites == nil {
		v.param = b.params.Add(name, rows, cols, init)
		v.grad = !v.param.Frozen
	}
	b.values = append(b.values, v)
	b.refs[name] = r
	return r
}

// Replicator is an adapter that changes which blocks of a model run, and in which order.
type Replicator interface {
	// Layers gives, for each block that runs, the index of the block whose weights it has, of n; nil for all in their order.
	Layers(n int) []int
}

// Layers is the order in which a model of n blocks runs them: 0 to n-1 unless an adapter is a [Replicator]. The k'th block that runs is
// named k and has the weights of the block that is k'th in the list.
func (b *Builder) Layers(n int) []int {
	for _, a := range b.adapters {
		if r, ok := a.(Replicator); ok {
			if l := r.Layers(n); l != nil {
				return l
			}
		}
	}
	l := make([]int, n)
	for i := range l {
		l[i] = i
	}
	return l
}

// Block runs f, whose ops form one unit of activation checkpointing: a transformer block.
func (b *Builder) Block(layer int, f func()) {
	if b.block >= 0 {
		panic("nn: a block inside a block")
	}
	b.block = b.blocks
	b.blocks++
	f()
	b.block = -1
}

// Finish names the value that the program returns: the head's output.
func (b *Builder) Finish(out Ref) {
	b.out = out
	b.done = true
}

// Sites wires w without adapters and returns its sites in order. Nothing is computed or allocated.
func Sites(w Wiring) []Site {
	var sites []Site
	b := newBuilder(nil, nil, ModeScore, false)
	b.sites = &sites
	w.Wire(b)
	return sites
}
