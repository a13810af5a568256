package peft

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/nn"
)

// evaLayer gathers the principal directions of one module's input.
type evaLayer struct {
	name       string
	components int // most that may be wanted
	pca        *incrementalPCA
	converged  []bool
	done       bool // not looked at until it is needed again
	rows       []float32
	in         int
}

// step takes the rows that the probe gathered, and says which components turned by less than tau allows.
func (l *evaLayer) step(tau float64) error {
	rows := len(l.rows) / max(l.in, 1)
	if rows < l.components {
		return nil // as in HF: too few for so many components
	}
	if l.components > l.in {
		return fmt.Errorf("peft: LORA: eva: %s has %d inputs, fewer than the %d components that rho times the rank asks for", l.name,
			l.in, l.components)
	}
	if l.pca == nil {
		l.pca = &incrementalPCA{n: l.components, in: l.in}
	}
	x := mat.NewDense(rows, l.in, nil)
	for i, v := range l.rows {
		x.Set(i/l.in, i%l.in, float64(v))
	}
	before := l.pca.components
	l.pca.fit(x)
	if before == nil {
		return nil
	}
	k, _ := l.pca.components.Dims()
	for c := range k {
		a, b := l.pca.components.RawRowView(c), before.RawRowView(c)
		dot, na, nb := 0.0, 0.0, 0.0
		for j := range a {
			dot += float64(a[j] * b[j])
			na += float64(a[j] * a[j])
			nb += float64(b[j] * b[j])
		}
		l.converged[c] = dot/math.Sqrt(na*nb) >= tau
	}
	return nil
}

// evaProbe is an adapter that copies the inputs of modules, the base alone computing.
type evaProbe struct {
	layers map[string]*evaLayer
	keep   []bool // rows to take, of the step that runs
}

// Adapt implements nn.Adapter.
func (p *evaProbe) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	if p.layers[s.Name] == nil || s.Kind != nn.KindLinear && s.Kind != nn.KindHead {
		return s.Out
	}
	if s.Kind == nn.KindHead {
		s.In[0] = b.Apply(&evaOp{p, s.Name}, s.In[0])
		return b.Apply(s.Op, s.In...)
	}
	return b.Apply(s.Op, b.Apply(&evaOp{p, s.Name}, s.In[0]))
}

// evaOp hands its input to a layer's memory.
type evaOp struct {
	probe *evaProbe
	name  string
}

// Plan implements nn.Op.
func (o *evaOp) Plan(in []nn.Shape, _ []bool) nn.Plan { return nn.Plan{Out: in[0]} }

// Forward implements nn.Op.
func (o *evaOp) Forward(w *nn.Work) {
	copy(w.Out, w.In[0])
	l := o.probe.layers[o.name]
	l.rows = l.rows[:0]
	if l.done {
		return
	}
	d := len(w.In[0]) / len(w.Step.Tokens)
	l.in = d
	for t := range w.Step.Tokens {
		if o.probe.keep == nil || o.probe.keep[t] {
			l.rows = append(l.rows, w.In[0][t*d:(t+1)*d]...)
		}
	}
}

// Backward implements nn.Op.
func (o *evaOp) Backward(*nn.Work) {}

// replicate keeps the order of the adapter's blocks in the probe's program.
type replicate struct{ a *Adapter }

// Adapt implements nn.Adapter.
func (r replicate) Adapt(_ *nn.Builder, s nn.Site) nn.Ref { return s.Out }

// Layers implements nn.Replicator.
func (r replicate) Layers(n int) []int { return r.a.Layers(n) }
