package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/gradcheck"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

func normal(name string, n int, std float64) []float32 {
	x := make([]float32, n)
	philox.NewKey(7, "test", name).FillNormal(x, 0, std)
	return x
}

func frozen(name string, out, in int) quant.Weight {
	return quant.NewF32(out, in, normal(name, out*in, 1/math.Sqrt(float64(in))), in, 1)
}

// toy is a small transformer in which everything that can be trained is, or nothing but what train names.
type toy struct {
	vocab, d, heads, kv, hd, ff, layers, prefix int
	train                                       bool // all weights
	gpt2                                        bool // layer norm, gelu, position embedding, Conv1D
	softcap                                     float32
	lowRank                                     bool
	replace                                     []int32
	freezeHead                                  bool
	dropout                                     float32
	twice                                       bool // values that several ops read, or one twice
}

func small() toy {
	return toy{vocab: 61, d: 24, heads: 4, kv: 2, hd: 8, ff: 20, layers: 3, prefix: 2, train: true}
}

func (m toy) linear(b *Builder, name string, layer, in, out int, x Ref) Ref {
	l := &Linear{In: in, Out: out, TrainW: m.train, TrainBias: m.train, Transposed: m.gpt2}
	if !m.train {
		l.W = frozen(name, out, in)
		l.Bias = normal(name+".bias", out, 0.1)
		return b.Site(KindLinear, name, layer, l, x)
	}
	rows, cols := out, in
	if m.gpt2 {
		rows, cols = in, out
	}
	w := b.Param(name+".weight", rows, cols, func(d []float32) { copy(d, normal(name, len(d), 1/math.Sqrt(float64(in)))) })
	c := b.Param(name+".bias", 1, out, func(d []float32) { copy(d, normal(name+".bias", len(d), 0.1)) })
	return b.Site(KindLinear, name, layer, l, x, w, c)
}

func (m toy) norm(b *Builder, name string, x Ref) Ref {
	one := func(n string) func([]float32) {
		return func(d []float32) {
			copy(d, normal(n, len(d), 0.2))
			for i := range d {
				d[i]++
			}
		}
	}
	g, h := make([]float32, m.d), make([]float32, m.d)
	one(name)(g)
	var in []Ref
	if m.train {
		in = []Ref{b.Param(name+".weight", 1, m.d, one(name))}
	}
	if !m.gpt2 {
		return b.Site(KindNorm, name, -1, &RMSNorm{W: g, D: m.d, Eps: 1e-5, TrainW: m.train}, append([]Ref{x}, in...)...)
	}
	if m.train {
		in = append(in, b.Param(name+".bias", 1, m.d, one(name+"b")))
	}
	return b.Site(KindNorm, name, -1, &LayerNorm{W: g, B: h, D: m.d, Eps: 1e-5, TrainW: m.train, TrainB: m.train},
		append([]Ref{x}, in...)...)
}

func (m toy) Wire(b *Builder) {
	e := &Embedding{V: m.vocab, D: m.d, TrainW: m.train, Scale: 1.5}
	var x Ref
	if m.train {
		x = b.Apply(e, b.Param("wte", m.vocab, m.d, func(d []float32) { copy(d, normal("wte", len(d), 1)) }))
	} else {
		e.W = frozen("wte", m.vocab, m.d)
		x = b.Site(KindEmbedding, "wte", -1, e)
	}
	if m.gpt2 {
		p := &PositionEmbedding{P: 32, D: m.d, TrainW: m.train, W: normal("wpe", 32*m.d, 1)}
		var in []Ref
		if m.train {
			in = append(in, b.Param("wpe", 32, m.d, func(d []float32) { copy(d, normal("wpe", len(d), 1)) }))
		}
		x = b.Apply(Add{}, x, b.Apply(p, in...))
	}
	inv := make([]float64, m.hd/2)
	for i := range inv {
		inv[i] = math.Pow(10000, -float64(2*i)/float64(m.hd))
	}
	table := kernels.NewRopeTable(inv, 64, 1)
	for l := range m.layers {
		b.Block(l, func() {
			n := fmt.Sprintf("layers.%d.", l)
			h := m.norm(b, n+"ln1", x)
			q := m.linear(b, n+"q", l, m.d, m.heads*m.hd, h)
			k := m.linear(b, n+"k", l, m.d, m.kv*m.hd, h)
			v := m.linear(b, n+"v", l, m.d, m.kv*m.hd, h)
			if !m.gpt2 {
				q = b.Apply(&Rope{Heads: m.heads, HeadDim: m.hd, RotaryDim: m.hd, Table: table}, q)
				k = b.Apply(&Rope{Heads: m.kv, HeadDim: m.hd, RotaryDim: m.hd, Table: table}, k)
			}
			in := []Ref{q, k, v}
			a := &Attention{Attn: kernels.Attn{Heads: m.heads, KVHeads: m.kv, HeadDim: m.hd, Scale: float32(1 / math.Sqrt(float64(m.hd)))}}
			if m.train && m.prefix > 0 {
				a.PrefixLen = m.prefix
				for _, s := range []string{"pk", "pv"} {
					in = append(in, b.Param(n+s, m.prefix, m.kv*m.hd, func(d []float32) { copy(d, normal(n+s, len(d), 1)) }))
				}
			}
			o := m.linear(b, n+"o", l, m.heads*m.hd, m.d, b.Site(KindAttention, n+"attn", l, a, in...))
			if m.dropout > 0 {
				o = b.Apply(&Dropout{P: m.dropout, Name: n + "drop"}, o)
			}
			x = b.Apply(Add{}, x, o)
			h = m.norm(b, n+"ln2", x)
			var y Ref
			if m.gpt2 {
				y = b.Apply(&Activation{Act: kernels.GELUTanh}, m.linear(b, n+"fc", l, m.d, m.ff, h))
			} else {
				gate, up := m.linear(b, n+"gate", l, m.d, m.ff, h), m.linear(b, n+"up", l, m.d, m.ff, h)
				y = b.Apply(&GatedAct{Act: kernels.SiLU}, gate, up)
				if m.twice {
					y = b.Apply(Add{}, b.Apply(&GatedAct{Act: kernels.GELU}, gate, y), b.Apply(&GatedAct{Act: kernels.SiLU}, y, y))
				}
			}
			x = b.Apply(Add{}, x, m.linear(b, n+"down", l, m.ff, m.d, y))
		})
	}
	x = m.norm(b, "ln_f", x)
	hd := &Head{V: m.vocab, D: m.d, SoftCap: m.softcap}
	in := []Ref{x}
	add := func(name string, rows, cols int) {
		in = append(in, b.Param(name, rows, cols, func(d []float32) { copy(d, normal(name, len(d), 0.4)) }))
	}
	if m.train && !m.freezeHead {
		hd.TrainW, hd.TrainBias = true, true
		add("head.weight", m.vocab, m.d)
		add("head.bias", 1, m.vocab)
	} else {
		hd.W = frozen("head", m.vocab, m.d)
	}
	if m.lowRank {
		hd.LowRank = &LowRank{R: 3, Scale: 1.7}
		add("head.A", 3, m.d)
		add("head.B", m.vocab, 3)
	}
	if len(m.replace) > 0 {
		hd.ReplaceRows = m.replace
		add("head.rows", len(m.replace), m.d)
	}
	b.Finish(b.Site(KindHead, "head", -1, hd, in...))
}

func (m toy) step(lens ...int) *Step {
	s := &Step{}
	k := philox.NewKey(1, "step", "")
	for i, n := range lens {
		start := len(s.Tokens)
		for j := range n {
			s.Tokens = append(s.Tokens, int32(k.At(uint64(i), uint64(j))[0]%uint32(m.vocab)))
			s.Positions = append(s.Positions, int32(j))
			if j > 0 {
				s.Rows = append(s.Rows, int32(start+j-1))
				s.Labels = append(s.Labels, s.Tokens[start+j])
			}
		}
		s.Docs = append(s.Docs, kernels.Doc{Start: int32(start), End: int32(start + n)})
	}
	return s
}

func caps(s *Step) Caps { return Caps{T: len(s.Tokens) + 3, S: len(s.Rows) + 2, N: len(s.Docs) + 1} }

func coefs(n int) []float32 {
	c := normal("coef", n, 1)
	for i := range c {
		c[i] = (c[i] - 1) / float32(n)
	}
	return c
}

// run compiles, runs one step forward and backward, and returns the log-probabilities and the gradients.
func run(t *testing.T, m toy, s *Step, o Options) (logp []float32, grads map[string][]float32) {
	t.Helper()
	params := NewParams(1)
	o.Caps = caps(s)
	p, err := Compile(m, nil, params, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	logp = slices.Clone(p.Forward(s, true))
	p.Backward(coefs(len(s.Rows)))
	grads = map[string][]float32{}
	for _, q := range params.List() {
		grads[q.Name] = slices.Clone(q.Grad)
	}
	return logp, grads
}

var toys = map[string]func(*toy){
	"llama":       func(m *toy) {},
	"gpt2":        func(m *toy) { m.gpt2 = true },
	"softcap":     func(m *toy) { m.softcap = 2 },
	"lowrank":     func(m *toy) { m.lowRank = true },
	"replace":     func(m *toy) { m.replace = []int32{3, 60, 11} },
	"frozen head": func(m *toy) { m.freezeHead, m.lowRank, m.replace = true, true, []int32{5, 9} },
	"dropout":     func(m *toy) { m.dropout = 0.3 },
	"twice":       func(m *toy) { m.twice = true },
}

// checkGradients compares the gradients of all parameters of a program, on the step s, with differences of its loss, and returns the number
// of parameters.
func checkGradients(t *testing.T, w Wiring, s *Step) int {
	t.Helper()
	params := NewParams(1)
	p, err := Compile(w, nil, params, Options{Caps: caps(s), Poison: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := coefs(len(s.Rows))
	loss := func() float64 {
		sum := 0.0
		for i, v := range p.Forward(s, true) {
			sum += float64(c[i]) * float64(v)
		}
		return sum
	}
	loss()
	p.Backward(c)
	var vars []gradcheck.Var
	for _, q := range params.List() {
		vars = append(vars, gradcheck.Var{Name: q.Name, Data: q.Data, Grad: slices.Clone(q.Grad)})
	}
	gradcheck.Check(t, loss, vars, 5e-3)
	return len(vars)
}

func TestGradients(t *testing.T) {
	for name, f := range toys {
		t.Run(name, func(t *testing.T) {
			m := small()
			f(&m)
			s := m.step(7, 1, 12)
			checkGradients(t, m, s)
		})
	}
}

func equalBits(t *testing.T, what string, a, b map[string][]float32) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d and %d gradients", what, len(a), len(b))
	}
	for name := range a {
		for i := range a[name] {
			if math.Float32bits(a[name][i]) != math.Float32bits(b[name][i]) {
				t.Errorf("%s: %s[%d] is %g and %g", what, name, i, a[name][i], b[name][i])
				break
			}
		}
	}
}

func TestCheckpointingThreadsAndPoisonChangeNoBit(t *testing.T) {
	for name, f := range toys {
		t.Run(name, func(t *testing.T) {
			m := small()
			f(&m)
			s := m.step(9, 5, 14)
			logp, want := run(t, m, s, Options{Checkpoint: CheckpointNone})
			two := pool.New(2)
			defer two.Close()
			for what, o := range map[string]Options{
				"checkpointing": {Checkpoint: CheckpointAll}, "poison": {Checkpoint: CheckpointNone, Poison: true},
				"both": {Checkpoint: CheckpointAll, Poison: true}, "two threads": {Pool: two, Poison: true},
			} {
				l, g := run(t, m, s, o)
				equalBits(t, what, want, g)
				equalBits(t, what+", log p", map[string][]float32{"": logp}, map[string][]float32{"": l})
			}
		})
	}
}

func TestMemoryLimit(t *testing.T) {
	m := small()
	m.layers = 6
	s := m.step(30, 30)
	o := Options{Caps: caps(s)}
	plan := func(limit int64, mode CheckpointMode) (Memory, error) {
		o.MemoryLimit, o.Checkpoint = limit, mode
		p, err := Compile(m, nil, NewParams(1), o)
		if err != nil {
			return Memory{}, err
		}
		defer p.Close()
		return p.Memory(), nil
	}
	none, _ := plan(0, CheckpointNone)
	all, _ := plan(0, CheckpointAll)
	if all.Arena >= none.Arena {
		t.Fatalf("checkpointing all blocks takes %d bytes, none %d", all.Arena, none.Arena)
	}
	if got, err := plan(none.Total(), CheckpointAuto); err != nil || got.Checkpointed != 0 {
		t.Errorf("limit of all that is needed: %d blocks checkpointed, %v", got.Checkpointed, err)
	}
	mid, err := plan((none.Total()+all.Total())/2, CheckpointAuto)
	if err != nil || mid.Checkpointed == 0 || mid.Checkpointed == m.layers || mid.Total() > (none.Total()+all.Total())/2 {
		t.Errorf("limit half way: %+v, %v", mid, err)
	}
	if _, err := plan(all.Total()-1, CheckpointAuto); err == nil {
		t.Error("a limit below the least was accepted")
	}
}

// A document's log-probabilities do not depend on what it is packed with.
func TestPackedDocumentsAreAlone(t *testing.T) {
	m := small()
	s := m.step(7, 12, 3)
	logp, _ := run(t, m, s, Options{})
	at := 0
	for i, d := range s.Docs {
		one := &Step{Docs: []kernels.Doc{{End: d.End - d.Start}}, DocIDs: []uint64{uint64(i)},
			Tokens: s.Tokens[d.Start:d.End], Positions: s.Positions[d.Start:d.End]}
		for k, r := range s.Rows {
			if r >= d.Start && r < d.End {
				one.Rows = append(one.Rows, r-d.Start)
				one.Labels = append(one.Labels, s.Labels[k])
			}
		}
		alone, _ := run(t, m, one, Options{})
		for k := range alone {
			if math.Float32bits(alone[k]) != math.Float32bits(logp[at+k]) {
				t.Errorf("document %d, label %d: %g alone, %g packed", i, k, alone[k], logp[at+k])
			}
		}
		at += len(alone)
	}
}

func TestCacheGivesTheSameLogits(t *testing.T) {
	for _, gpt2 := range []bool{false, true} {
		m := small()
		m.train, m.gpt2 = false, gpt2
		s := m.step(17)
		s.Rows = nil
		for i := range s.Tokens {
			s.Rows = append(s.Rows, int32(i))
		}
		s.Labels = nil
		full, err := Compile(m, nil, NewParams(1), Options{Mode: ModeLogits, Caps: Caps{T: 17, S: 17, N: 1}})
		if err != nil {
			t.Fatal(err)
		}
		want := full.Forward(s, false)
		p, err := Compile(m, nil, NewParams(1), Options{Mode: ModeLogits, Cache: true, Caps: Caps{T: 9, S: 9, N: 1, C: 20}})
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < 17; {
			n := 1
			if at == 0 {
				n = 9
			}
			one := &Step{Tokens: s.Tokens[at : at+n], Positions: s.Positions[at : at+n],
				Docs: []kernels.Doc{{End: int32(n), Past: int32(at)}}}
			for i := range n {
				one.Rows = append(one.Rows, int32(i))
			}
			got := p.Forward(one, false)
			for i, v := range got {
				if d := math.Abs(float64(v - want[at*m.vocab+i])); d > 1e-4 {
					t.Fatalf("gpt2 %v: logit %d of token %d differs by %g", gpt2, i%m.vocab, at+i/m.vocab, d)
				}
			}
			at += n
		}
		full.Close()
		p.Close()
	}
}

func TestScoreEqualsLogits(t *testing.T) {
	m := small()
	m.train, m.lowRank, m.replace = false, true, []int32{4, 8}
	s := m.step(8, 5)
	params := NewParams(1)
	score, err := Compile(m, nil, params, Options{Mode: ModeScore, Caps: caps(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer score.Close()
	raw, err := Compile(m, nil, params, Options{Mode: ModeLogits, Caps: caps(s)})
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	logp := score.Forward(s, false)
	logits := raw.Forward(s, false)
	for i, label := range s.Labels {
		row := logits[i*m.vocab : (i+1)*m.vocab]
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		want := float64(row[label]) - math.Log(sum)
		if d := math.Abs(want - float64(logp[i])); d > 1e-5 {
			t.Errorf("label %d: log p %g, from the logits %g", i, logp[i], want)
		}
	}
}

// doubler returns twice the output of every linear, and nothing of the base op where it is named in replace.
type doubler struct{ replace string }

func (a doubler) Adapt(b *Builder, s Site) Ref {
	if s.Kind != KindLinear || a.replace != "" && s.Name != a.replace {
		return s.Out
	}
	l := *s.Op.(*Linear)
	l.Bias = nil
	return b.Apply(&l, s.In...)
}

func TestAdapterSeesSitesAndDeadStepsVanish(t *testing.T) {
	m := small()
	m.train = false
	var names []string
	for _, s := range Sites(m) {
		if s.Kind == KindLinear && s.Layer == 0 {
			names = append(names, s.Name)
		}
	}
	if want := []string{"layers.0.q", "layers.0.k", "layers.0.v", "layers.0.o", "layers.0.gate", "layers.0.up",
		"layers.0.down"}; !slices.Equal(names, want) {
		t.Errorf("linear sites %v, want %v", names, want)
	}
	s := m.step(4)
	base, _ := Compile(m, nil, NewParams(1), Options{Mode: ModeScore, Caps: caps(s)})
	adapted, _ := Compile(m, []Adapter{doubler{"layers.0.q"}}, NewParams(1), Options{Mode: ModeScore, Caps: caps(s)})
	if len(base.l.actions) != len(adapted.l.actions) {
		t.Errorf("%d actions with a replaced linear, %d without: the base op still runs", len(adapted.l.actions), len(base.l.actions))
	}
	if slices.Equal(slices.Clone(base.Forward(s, false)), adapted.Forward(s, false)) {
		t.Error("the adapter changed nothing")
	}
	if _, err := Compile(m, nil, NewParams(1), Options{Mode: ModeTrain, Caps: caps(s)}); err == nil {
		t.Error("a program with nothing to train compiled for training")
	}
}
