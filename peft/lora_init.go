package peft

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// InitWeights is init_lora_weights: true, false or the name of an initialisation.
type InitWeights struct {
	On   bool
	Name string
}

// MarshalJSON writes a boolean or a string.
func (i InitWeights) MarshalJSON() ([]byte, error) {
	if i.Name != "" {
		return json.Marshal(i.Name)
	}
	return json.Marshal(i.On)
}

// UnmarshalJSON reads true, false or a name of the table loraInits.
func (i *InitWeights) UnmarshalJSON(b []byte) error {
	*i = InitWeights{}
	if json.Unmarshal(b, &i.On) == nil && string(b) != "null" {
		return nil
	}
	if json.Unmarshal(b, &i.Name) != nil || i.Name == "" {
		return fmt.Errorf("want true, false or one of %s", strings.Join(loraInitNames(), ", "))
	}
	_, err := loraInitOf(*i)
	return err
}

// loraInit is a way of starting the pairs of linear layers and of the head. Embeddings start as ever: A zero, B normal.
type loraInit struct {
	name string // of init_lora_weights, in any case; one that ends in _ is followed by a number
	doc  string
	// start sets how p's parameters start, for the module s.
	start func(l *lora, p *pair, s nn.Site) error
}

// loraInits is the table of initialisations. A new one is a row here.
var loraInits = []loraInit{
	{"gaussian", "A normal with deviation 1/r, B zero", startGaussian},
	{"orthogonal", "A and B of orthogonal rows and columns, the base unchanged", startOrthogonal},
	{"pissa", "the principal singular values and vectors, which the base loses (Meng et al. 2024, arXiv:2404.02948)", startPissa},
	{"pissa_niter_", "the same by a randomised SVD with so many subspace iterations (Halko et al. 2011)", startPissa},
	{"olora", "the first columns of the base's QR decomposition, which the base loses (Büyükakyüz 2024, arXiv:2406.01775)", startOlora},
	{"loftq", "the base quantised to NF4, the pair what that misses (Li et al. 2023, arXiv:2310.08659)", startLoftq},
	{"eva", "A the principal directions of the activations (Paischer et al. 2024, arXiv:2410.07170); see InitializeEVA", startEva},
}

func loraInitNames() []string {
	var names []string
	for _, i := range loraInits {
		n := i.name
		if strings.HasSuffix(n, "_") {
			n += "N"
		}
		names = append(names, strconv.Quote(n))
	}
	return names
}

// loraInitOf finds the row of a value, nil for true and false.
func loraInitOf(w InitWeights) (*loraInit, error) {
	if w.Name == "" {
		return nil, nil
	}
	name := strings.ToLower(w.Name)
	for k := range loraInits {
		i := &loraInits[k]
		if name == i.name {
			return i, nil
		}
		if n, ok := strings.CutPrefix(name, i.name); ok && strings.HasSuffix(i.name, "_") {
			if v, err := strconv.Atoi(n); err == nil && v >= 0 {
				return i, nil
			}
		}
	}
	return nil, fmt.Errorf("adaptflow has true, false, %s", strings.Join(loraInitNames(), ", "))
}

// start sets how the pair of a target starts.
func (l *lora) start(p *pair, s nn.Site, env Env) error {
	c := &l.cfg
	if s.Kind == nn.KindEmbedding {
		if l.init != nil && l.init.name == "loftq" {
			return fmt.Errorf("peft: LORA: init_lora_weights \"loftq\" is for linear layers, but the target %s is an embedding", s.Name)
		}
		p.a.Init, p.b.Init = zeros, normal(env.Seed, p.b.Name, 1)
		if !c.InitLoraWeights.On && c.InitLoraWeights.Name == "" {
			p.a.Init = normal(env.Seed, p.a.Name, 1)
		}
		return nil
	}
	p.a.Init, p.b.Init = uniform(env.Seed, p.a.Name, p.a.Cols), zeros
	if l.init != nil {
		return l.init.start(l, p, s)
	}
	if !c.InitLoraWeights.On {
		p.b.Init = uniform(env.Seed, p.b.Name, p.r)
	}
	return nil
}

func startGaussian(l *lora, p *pair, _ nn.Site) error {
	p.a.Init = normal(l.seed, p.a.Name, 1/float64(p.r))
	return nil
}

// startOrthogonal splits the rows of a random orthogonal matrix Q [r, r] into the odd and the even ones, so that (X·Q_odd)ᵀ and Y·Q_even span
// orthogonal spaces: X [in, r/2] and Y [out, r/2] are normal, the products are divided by 10.
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

// rebase is what starting values make of the base's weight: W loses them, so that at the start the sum is W.
type rebase struct {
	w     quant.Weight // as the base stores it
	to    quant.Weight // in its place
	scale float32
	r     int

	once sync.Once
	find func(w []float32) (a, b, changed []float32) // of W [out, in]: A [r, in], B [out, r], and the weight itself where it is more than W - scale·B·A
	a, b []float32
	full []float32
}

// rebased makes p start at the values of find, and its module's weight lose them.
func (l *lora) rebased(p *pair, s nn.Site, quantised bool, find func(w []float32) (a, b, changed []float32)) error {
	rb := &rebase{scale: float32(p.scale), r: p.r, find: find}
	switch o := s.Op.(type) {
	case *nn.Linear:
		rb.w = o.W
	case *nn.Head:
		rb.w = o.W
		if l.tied {
			return fmt.Errorf("peft: LORA: init_lora_weights %q changes the weight of %s, which is the embedding's too (tie_word_embeddings); leave it out of target_modules",
				l.cfg.InitLoraWeights.Name, s.Name)
		}
	}
	if out, in := rb.w.Dims(); p.r > min(out, in) {
		return fmt.Errorf("peft: LORA: init_lora_weights %q: the rank %d is above the smaller side of %s, [%d, %d]", l.cfg.InitLoraWeights.Name, p.r, s.Name, out, in)
	}
	if !quantised && quant.Quantised(rb.w) {
		return fmt.Errorf("peft: LORA: init_lora_weights %q needs a base of floating-point weights, but %s is quantised: train on the original weights, "+
			"or quantise the base that the adapter has changed", l.cfg.InitLoraWeights.Name, s.Name)
	}
	rb.to = quant.NewChanged(rb.w, func() []float32 {
		w := rb.dense()
		rb.solve(w)
		rb.take(w, false)
		return w
	})
	p.base = rb
	p.a.Init = func(d []float32) { copy(d, rb.start().a) }
	p.b.Init = func(d []float32) { copy(d, rb.start().b) }
	return nil
}

func (rb *rebase) dense() []float32 {
	out, in := rb.w.Dims()
	w := make([]float32, out*in)
	rb.w.Dense(w)
	return w
}

func (rb *rebase) solve(w []float32) {
	rb.once.Do(func() {
		rb.a, rb.b, rb.full = rb.find(w)
		rb.find = nil
	})
}

// start has the starting values.
func (rb *rebase) start() *rebase {
	if rb.a == nil {
		rb.solve(rb.dense())
	}
	return rb
}

// take makes of W, [out, in] or transposed, the changed weight.
func (rb *rebase) take(w []float32, transposed bool) {
	out, in := rb.w.Dims()
	switch {
	case rb.full != nil && transposed:
		copy(w, transpose(rb.full, out, in))
	case rb.full != nil:
		copy(w, rb.full)
	case transposed:
		kernels.Gemm(nil, in, out, rb.r, -rb.scale, rb.a, 1, in, rb.b, 1, rb.r, 1, w, out)
	default:
		kernels.Gemm(nil, out, in, rb.r, -rb.scale, rb.b, rb.r, 1, rb.a, in, 1, 1, w, in)
	}
}

// merge is take for the weights of a merge.
func (rb *rebase) merge(w []float32, transposed bool) {
	rb.start()
	rb.take(w, transposed)
}

// apply replaces the weight of the site's op.
func (rb *rebase) apply(b *nn.Builder, s nn.Site) nn.Site {
	switch o := s.Op.(type) {
	case *nn.Linear:
		c := *o
		c.W = rb.to
		s.Op = &c
	case *nn.Head:
		c := *o
		c.W = rb.to
		s.Op = &c
	}
	s.Out = b.Apply(s.Op, s.In...)
	return s
}

// startPissa takes the first r singular values and vectors of W/scale = U·S·Vᵀ: A = √S·Vᵀ, B = U·√S.
func startPissa(l *lora, p *pair, s nn.Site) error {
	niter := -1
	if n, ok := strings.CutPrefix(strings.ToLower(l.cfg.InitLoraWeights.Name), "pissa_niter_"); ok {
		niter, _ = strconv.Atoi(n)
	}
	return l.rebased(p, s, false, func(w []float32) (a, b, _ []float32) {
		d := svdOf(p.b.Rows, p.a.Cols, w, p.r, niter, philox.NewKey(l.seed, "pissa", p.name))
		for k := range d.s {
			d.s[k] = math.Sqrt(d.s[k] / p.scale)
		}
		a, b = d.factors()
		return a, b, nil
	})
}

// startOlora takes the first r columns of Q and rows of R of W = Q·R: A = R_r, B = Q_r. Householder's Q_r depends on W's first r columns alone.
func startOlora(l *lora, p *pair, s nn.Site) error {
	if o, ok := s.Op.(*nn.Linear); ok && o.Transposed {
		return fmt.Errorf("peft: LORA: init_lora_weights \"olora\" is for torch.nn.Linear, but %s is stored as [in, out] (Conv1D); use \"pissa\"", s.Name)
	}
	return l.rebased(p, s, true, func(w []float32) (a, b, _ []float32) {
		out, in, r := p.b.Rows, p.a.Cols, p.r
		m := mat.NewDense(out, r, nil)
		for i := range out {
			for k := range r {
				m.Set(i, k, float64(w[i*in+k]))
			}
		}
		q := orthogonalColumns(m)
		a, b = make([]float32, r*in), make([]float32, out*r)
		for i := range b {
			b[i] = float32(q.At(i/r, i%r))
		}
		sum := make([]float64, in)
		for k := range r {
			clear(sum)
			for o := range out {
				v := q.At(o, k)
				for i, x := range w[o*in : (o+1)*in] {
					sum[i] += float64(v * float64(x))
				}
			}
			for i, v := range sum {
				a[k*in+i] = float32(v)
			}
		}
		return a, b, nil
	})
}

// reopen says why a saved adapter cannot be used: its base cannot be made again.
func (l *lora) reopen() error {
	if i := l.cfg.InitLoraWeights.Name; strings.HasPrefix(strings.ToLower(i), "pissa_niter_") {
		return fmt.Errorf("peft: LORA: init_lora_weights is %q: the random decomposition that changed the base is another in every process, so the base of this "+
			"adapter cannot be made again; save it from PEFT with path_initial_model_for_weight_conversion, which makes a plain LoRA of it", i)
	}
	return nil
}
