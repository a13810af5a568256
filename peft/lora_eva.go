package peft

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// EvaConfig is HF's EvaConfig.
type EvaConfig struct {
	Rho                  Float `json:"rho"`
	Tau                  Float `json:"tau"`
	UseLabelMask         bool  `json:"use_label_mask"`
	LabelMaskValue       int   `json:"label_mask_value"`
	Whiten               bool  `json:"whiten"`
	AdjustScalingFactors bool  `json:"adjust_scaling_factors"`
}

// defaultEva has HF's defaults.
func defaultEva() *EvaConfig {
	return &EvaConfig{Rho: 2, Tau: 0.99, UseLabelMask: true, LabelMaskValue: -100, AdjustScalingFactors: true}
}

// UnmarshalJSON reads an object over HF's defaults, or null.
func (e *EvaConfig) UnmarshalJSON(b []byte) error {
	type plain EvaConfig
	*e = *defaultEva()
	return strict("eva_config", b, (*plain)(e))
}

func (e *EvaConfig) validate() error {
	switch {
	case !(e.Rho >= 1):
		return fmt.Errorf("peft: LORA: eva_config: rho is %g; it must be at least 1", float64(e.Rho))
	case !(e.Tau >= 0 && e.Tau <= 1):
		return fmt.Errorf("peft: LORA: eva_config: tau is %g; it must be in [0, 1]", float64(e.Tau))
	}
	return nil
}

// startEva starts A as ever and B at zero; InitializeEVA puts the directions of the activations into A.
func startEva(l *lora, p *pair, s nn.Site) error {
	if l.cfg.EvaConfig == nil {
		l.cfg.EvaConfig = defaultEva()
	}
	return l.cfg.EvaConfig.validate()
}

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

// incrementalPCA keeps the leading principal components of rows that come in batches (Ross et al. 2008), with torch's randomised decomposition and the
// random numbers that HF draws for it, so that ranks follow HF's.
type incrementalPCA struct {
	n, in      int
	seen       float64
	mean, vari []float64
	components *mat.Dense // [n, in], nil before the first batch
	singular   []float64
	ratio      []float64 // explained variance
}

// fit takes a batch x [rows, in], which it changes.
func (p *incrementalPCA) fit(x *mat.Dense) {
	rows, in := x.Dims()
	fresh := make([]float64, in) // mean of the batch
	sum, sumVar := make([]float64, in), make([]float64, in)
	for j := range in {
		for i := range rows {
			sum[j] += x.At(i, j)
		}
		fresh[j] = sum[j] / float64(rows)
		correction := 0.0
		for i := range rows {
			d := x.At(i, j) - fresh[j]
			correction += d
			sumVar[j] += float64(d * d)
		}
		sumVar[j] -= correction * correction / float64(rows)
	}
	n := float64(rows)
	total := p.seen + n
	mean, vari := make([]float64, in), make([]float64, in)
	for j := range in {
		if p.components == nil {
			mean[j], vari[j] = fresh[j], sumVar[j]/total
			continue
		}
		last := p.mean[j] * p.seen
		mean[j] = (last + sum[j]) / total
		ratio := p.seen / n
		d := last/ratio - sum[j]
		vari[j] = (p.vari[j]*p.seen + sumVar[j] + ratio/total*float64(d*d)) / total
	}
	for i := range rows {
		row := x.RawRowView(i)
		for j := range row {
			row[j] -= fresh[j]
		}
	}
	if p.components != nil {
		k, _ := p.components.Dims()
		y := mat.NewDense(k+rows+1, in, nil)
		for i := range k {
			for j := range in {
				y.Set(i, j, p.singular[i]*p.components.At(i, j))
			}
		}
		f := math.Sqrt(p.seen / total * n)
		for i := range rows {
			y.SetRow(k+i, x.RawRowView(i))
		}
		for j := range in {
			y.Set(k+rows, j, f*(p.mean[j]-fresh[j]))
		}
		x = y
	}
	// From the second batch on HF's rows are float64, because the correction of the mean is.
	d := svdLowRank(x, 2*p.n, 4, 42, p.components != nil)
	k := min(p.n, len(d.s))
	p.components, p.singular, p.ratio = mat.NewDense(k, in, nil), d.s[:k], make([]float64, k)
	all := 0.0
	for _, v := range vari {
		all += v * total
	}
	for c := range k {
		largest := 0.0
		for j := range in {
			if v := d.v.At(j, c); math.Abs(v) > math.Abs(largest) {
				largest = v
			}
		}
		for j := range in {
			p.components.Set(c, j, math.Copysign(1, largest)*d.v.At(j, c))
		}
		p.ratio[c] = d.s[c] * d.s[c] / all
	}
	p.seen, p.mean, p.vari = total, mean, vari
}

// step takes the rows that the probe gathered, and says which components turned by less than tau allows.
func (l *evaLayer) step(tau float64) error {
	rows := len(l.rows) / max(l.in, 1)
	if rows < l.components {
		return nil // as in HF: too few for so many components
	}
	if l.components > l.in {
		return fmt.Errorf("peft: LORA: eva: %s has %d inputs, fewer than the %d components that rho times the rank asks for", l.name, l.in, l.components)
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

// EvaBatch is one batch of the data whose activations InitializeEVA decomposes.
type EvaBatch struct {
	Step *nn.Step
	Keep []bool // [T] the tokens that count; nil for all. HF leaves out those whose label is masked (use_label_mask)
}

// NeedsData says whether the adapter is to be initialised from data before it is trained, by InitializeEVA.
func (a *Adapter) NeedsData() bool {
	l, ok := a.Method.(*lora)
	return ok && a.loaded == nil && l.init != nil && l.init.name == "eva" && !l.ready
}

// EVA is the configuration of an adapter that NeedsData.
func (a *Adapter) EVA() *EvaConfig { return a.Method.(*lora).cfg.EvaConfig }

// EvaProgress is how far InitializeEVA is.
type EvaProgress struct {
	Batch  int // the one that comes, counted from 1
	Most   int // batches after which it gives up
	Still  int // inputs whose directions stand still, over which the end is decided
	Inputs int // inputs that are decomposed; modules with the same input share one
}

// evaPasses bounds how often InitializeEVA goes over the data.
const evaPasses = 100

// InitializeEVA decomposes the activations of an adapter with init_lora_weights "eva" over the batches, again and again until the directions stand still,
// as HF's initialize_lora_eva_weights: A starts as the principal directions of each module's input, and the ranks, whose sum stays, go to the modules
// whose directions explain most (rho); rank_pattern, alpha_pattern and target_modules change accordingly. Call it before the adapter is compiled.
// note, if not nil, hears before each batch how far the work is, and may end it by an error.
func (a *Adapter) InitializeEVA(w nn.Wiring, threads *pool.Pool, batches []EvaBatch, note func(EvaProgress) error) error {
	l, ok := a.Method.(*lora)
	if !ok || l.init == nil || l.init.name != "eva" {
		return fmt.Errorf("peft: InitializeEVA is for LoRA with init_lora_weights \"eva\"")
	}
	if len(batches) == 0 {
		return fmt.Errorf("peft: LORA: eva: no data to initialise from")
	}
	cfg := l.cfg.EvaConfig
	probe := &evaProbe{layers: map[string]*evaLayer{}}
	var names []string // of linear modules, in the order of the sites
	budget := 0
	first := map[nn.Ref]string{} // of modules with the same input
	leader := map[string]string{}
	for _, s := range a.sites {
		p := l.pairs[s.Name]
		if p == nil || p.kind != s.Kind || s.Kind == nn.KindEmbedding || leader[s.Name] != "" {
			continue
		}
		names = append(names, s.Name)
		budget += p.r
		lead, ok := first[s.In[0]]
		if !ok {
			lead = s.Name
			first[s.In[0]] = lead
			probe.layers[lead] = &evaLayer{name: lead}
		}
		leader[s.Name] = lead
		y := probe.layers[lead]
		y.components = max(y.components, int(math.RoundToEven(float64(p.r)*float64(cfg.Rho))))
	}
	rank := map[string]int{}
	caps := nn.Caps{}
	for _, n := range names {
		y := probe.layers[leader[n]]
		y.converged = make([]bool, y.components)
		rank[n] = y.components
	}
	for _, b := range batches {
		caps.T, caps.S, caps.N = max(caps.T, len(b.Step.Tokens)), max(caps.S, len(b.Step.Rows)), max(caps.N, len(b.Step.Docs))
	}
	params := nn.NewParams(1)
	defer params.Free()
	prog, err := nn.Compile(w, []nn.Adapter{probe, replicate{a}}, params, nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: caps.T, S: 1, N: caps.N}, Pool: threads})
	if err != nil {
		return err
	}
	defer prog.Close()
	for turn := 0; ; turn++ {
		at := EvaProgress{Batch: turn + 1, Most: evaPasses * len(batches), Inputs: len(probe.layers)}
		for _, n := range names {
			if leader[n] != n {
				continue
			}
			y := probe.layers[n]
			still := true
			for _, c := range y.converged[:rank[n]] {
				still = still && c
			}
			if y.done = still; still {
				at.Still++
			}
		}
		if at.Still == at.Inputs {
			break
		}
		if turn == at.Most {
			return fmt.Errorf("peft: LORA: eva: the directions still turn after %d passes over the data: lower tau or rho, or give more data", evaPasses)
		}
		if note != nil {
			if err := note(at); err != nil {
				return err
			}
		}
		b := batches[turn%len(batches)]
		step := *b.Step
		step.Rows, step.Labels = []int32{0}, nil // no logits are needed
		probe.keep = b.Keep
		prog.Forward(&step, false)
		ready := true // every module has a decomposition
		for _, n := range names {
			y := probe.layers[n]
			if y == nil {
				continue
			}
			if !y.done {
				if err := y.step(float64(cfg.Tau)); err != nil {
					return err
				}
			}
			ready = ready && y.pca != nil
		}
		if ready {
			rank = evaRanks(names, leader, probe.layers, budget)
		}
	}
	return a.eva(l, names, leader, probe.layers, rank)
}

// replicate keeps the order of the adapter's blocks in the probe's program.
type replicate struct{ a *Adapter }

// Adapt implements nn.Adapter.
func (r replicate) Adapt(_ *nn.Builder, s nn.Site) nn.Ref { return s.Out }

// Layers implements nn.Replicator.
func (r replicate) Layers(n int) []int { return r.a.Layers(n) }

// evaRanks gives the budget to the directions that explain most, of modules with one input to the first at least as much as to the others.
func evaRanks(names []string, leader map[string]string, layers map[string]*evaLayer, budget int) map[string]int {
	type value struct {
		name  string
		ratio float32
	}
	var vs []value
	// HF's order: the modules with a decomposition of their own, then those that share one.
	order := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return leader[n] != n })
	var shared []string
	for _, n := range names {
		if leader[n] != n {
			shared = append(shared, n)
		}
	}
	for _, n := range append(order, shared...) {
		for _, r := range layers[leader[n]].pca.ratio {
			vs = append(vs, value{n, float32(r)})
		}
	}
	sort.SliceStable(vs, func(i, j int) bool { return vs[i].ratio > vs[j].ratio })
	counts := map[string]int{}
	for _, v := range vs[:min(budget, len(vs))] {
		counts[v.name]++
	}
	for _, n := range shared {
		if lead := leader[n]; counts[lead] < counts[n] {
			counts[lead], counts[n] = counts[n], counts[lead]
		}
	}
	return counts
}

// eva rebuilds the method with the new ranks and puts the directions into A.
func (a *Adapter) eva(old *lora, names []string, leader map[string]string, layers map[string]*evaLayer, rank map[string]int) error {
	l := newLora().(*lora)
	l.cfg = old.cfg
	c := &l.cfg
	c.RankPattern, c.AlphaPattern, c.TargetModules = Patterns{}, Patterns{}, Names{List: []string{}}
	for _, n := range old.names {
		p := old.pairs[n]
		r, alpha := p.r, p.alpha
		if leader[n] != "" {
			if r = rank[n]; r == 0 {
				continue // the module is no longer adapted
			}
			if r != p.r && c.EvaConfig.AdjustScalingFactors {
				alpha *= float64(r) / float64(p.r)
			}
		}
		c.TargetModules.List = append(c.TargetModules.List, n)
		if r != c.R {
			c.RankPattern = append(c.RankPattern, Pattern{Key: n, Value: float64(r)})
		}
		if alpha != c.LoraAlpha {
			c.AlphaPattern = append(c.AlphaPattern, Pattern{Key: n, Value: alpha})
		}
	}
	if err := l.Attach(a.sites, a.env); err != nil {
		return err
	}
	for _, n := range l.names {
		if leader[n] == "" {
			continue
		}
		p, pca := l.pairs[n], layers[leader[n]].pca
		start := make([]float32, p.a.Size())
		for k := range p.r {
			f := 1.0
			if c.EvaConfig.Whiten { // in place in HF: once for every module that shares these directions
				for _, other := range l.names {
					if leader[other] == leader[n] && rank[other] > k {
						f /= math.Sqrt(pca.singular[k])
					}
				}
			}
			for j := range p.a.Cols {
				start[k*p.a.Cols+j] = float32(pca.components.At(k, j) * f)
			}
		}
		p.a.Init = func(d []float32) { copy(d, start) }
	}
	l.ready = true
	a.Method = l
	return nil
}
