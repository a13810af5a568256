package preference

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// goldenCase is a case of testdata/cases.json, made of TRL's by interop/golden/preference.py.
type goldenCase struct {
	Name       string
	Method     string
	Settings   json.RawMessage
	Loss       float64
	Metrics    map[string]float64
	Chosen     []goldenAnswer
	Rejected   []goldenAnswer
	Answers    []goldenAnswer
	Mismatched []goldenAnswer
	Weights    []float64
	Margins    []float64
	Labels     []bool
	KL         float64
}

type goldenAnswer struct {
	LogP  float64
	Ref   float64
	N     int
	Text  float64
	TextN int `json:"text_n"`
}

func (a goldenAnswer) answer() Answer { return Answer(a) }

func (c *goldenCase) pairs() (out []Pair) {
	for i := range c.Chosen {
		p := Pair{Chosen: c.Chosen[i].answer(), Rejected: c.Rejected[i].answer(), Weight: 1}
		if c.Weights != nil {
			p.Weight = c.Weights[i]
		}
		out = append(out, p)
	}
	return out
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if d := math.Abs(got - want); !(d <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s is %.7g, TRL has %.7g", what, got, want)
	}
}

func loss(grads []Grad) (sum float64) {
	for _, g := range grads {
		sum += g.Loss
	}
	return sum / float64(len(grads))
}

func mean(c *goldenCase, f func(p *Pair) float64) (sum float64) {
	pairs := c.pairs()
	for i := range pairs {
		sum += f(&pairs[i])
	}
	return sum / float64(len(pairs))
}

// methods decode a case's settings and give its loss and metrics.
var methods = map[string]func(t *testing.T, c *goldenCase) (float64, map[string]float64){
	"DPO": func(t *testing.T, c *goldenCase) (float64, map[string]float64) {
		o := NewDPO()
		settings(t, c, &o)
		out := make([]Grad, len(c.Chosen))
		o.Pairs(c.pairs(), out)
		return loss(out), map[string]float64{
			"rewards/chosen":   mean(c, func(p *Pair) float64 { x, _ := o.Rewards(p); return x }),
			"rewards/rejected": mean(c, func(p *Pair) float64 { _, x := o.Rewards(p); return x })}
	},
	"KTO": func(t *testing.T, c *goldenCase) (float64, map[string]float64) {
		o := NewKTO()
		settings(t, c, &o)
		kl, sum := 0.0, 0.0
		if o.NeedsKL() {
			var all []Answer
			for _, a := range c.Mismatched {
				all = append(all, a.answer())
			}
			kl = o.KL(all)
		}
		near(t, "KL", kl, c.KL, 1e-5)
		for i, a := range c.Answers {
			x := a.answer()
			l, _ := o.Row(&x, c.Labels[i], kl)
			sum += l
		}
		return sum / float64(len(c.Answers)), nil
	},
	"CPO": func(t *testing.T, c *goldenCase) (float64, map[string]float64) {
		o := NewCPO()
		settings(t, c, &o)
		out := make([]Grad, len(c.Chosen))
		nll := o.Pairs(c.pairs(), out)
		return loss(out), map[string]float64{"nll_loss": nll,
			"rewards/chosen":   mean(c, func(p *Pair) float64 { x, _ := o.Rewards(p); return x }),
			"rewards/rejected": mean(c, func(p *Pair) float64 { _, x := o.Rewards(p); return x }),
			"logps/chosen":     mean(c, func(p *Pair) float64 { return o.LogP(&p.Chosen) })}
	},
	"ORPO": func(t *testing.T, c *goldenCase) (float64, map[string]float64) {
		o := NewORPO()
		settings(t, c, &o)
		out := make([]Grad, len(c.Chosen))
		nll := o.Pairs(c.pairs(), out)
		return loss(out), map[string]float64{"nll_loss": nll,
			"rewards/rejected": mean(c, func(p *Pair) float64 { _, x := o.Rewards(p); return x }),
			"log_odds_chosen":  mean(c, func(p *Pair) float64 { x, _, _, _ := o.Odds(p); return x }),
			"log_odds_ratio":   mean(c, func(p *Pair) float64 { _, x, _, _ := o.Odds(p); return x })}
	},
	"reward": func(t *testing.T, c *goldenCase) (float64, map[string]float64) {
		var o Reward
		settings(t, c, &o)
		sum := 0.0
		for i := range c.Chosen {
			margin := 0.0
			if c.Margins != nil {
				margin = c.Margins[i]
			}
			l, _, _ := o.Pair(c.Chosen[i].LogP, c.Rejected[i].LogP, margin)
			sum += l
		}
		return sum / float64(len(c.Chosen)), nil
	},
}

func settings(t *testing.T, c *goldenCase, o interface{ Check() error }) {
	t.Helper()
	if err := json.Unmarshal(c.Settings, o); err != nil {
		t.Fatal(err)
	}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
}

// TestGolden: TRL's losses and metrics of the log-probabilities that TRL had.
func TestGolden(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range golden.JSON[[]goldenCase](t, filepath.Join("testdata", "cases.json")) {
		t.Run(c.Name, func(t *testing.T) {
			got, metrics := methods[c.Method](t, &c)
			near(t, "the loss", got, c.Loss, 2e-6)
			for name, x := range metrics {
				if want, ok := c.Metrics[name]; ok {
					near(t, name, x, want, 2e-6)
				}
			}
			var s struct {
				LossType Names `json:"loss_type"`
			}
			_ = json.Unmarshal(c.Settings, &s)
			for _, l := range s.LossType {
				seen[c.Method+" "+l] = true
			}
		})
	}
	for _, l := range dpoLosses {
		if !seen["DPO "+l.key] && l.key != "sft" { // whose case is of gradients: package train
			t.Errorf("no case of DPO with %s", l.key)
		}
		if l.doc == "" {
			t.Errorf("%s has no source", l.key)
		}
	}
	for _, l := range cpoLosses {
		if !seen["CPO "+l.key] {
			t.Errorf("no case of CPO with %s", l.key)
		}
	}
}

// pairwise are settings of every loss over pairs.
func pairwise() map[string]func(pairs []Pair, out []Grad) {
	out := map[string]func([]Pair, []Grad){}
	for _, l := range dpoLosses {
		for _, d := range divergences {
			o := NewDPO()
			o.Beta, o.LossType, o.FDivergenceType, o.LossWeights = 0.7, Names{l.key}, d.key, []float64{0.6}
			if l.smooth {
				o.LabelSmoothing = 0.1
			}
			if o.Check() == nil {
				out["dpo "+l.key+" "+d.key] = o.Pairs
			}
			o.UseWeighting = true
			if o.Check() == nil {
				out["dpo "+l.key+" "+d.key+" weighted"] = o.Pairs
			}
		}
	}
	for _, l := range cpoLosses {
		for _, alpha := range []float64{0, 0.25} {
			o := NewCPO()
			o.Beta, o.LossType, o.Alpha, o.CPOAlpha = 0.7, l.key, alpha, 0.5
			out["cpo "+l.key] = func(p []Pair, g []Grad) { o.Pairs(p, g) }
		}
	}
	o := NewORPO()
	out["orpo"] = func(p []Pair, g []Grad) { o.Pairs(p, g) }
	return out
}

// TestDerivatives compares derivatives with differences of the losses, at random log-probabilities.
func TestDerivatives(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	answer := func() Answer {
		x := -2 - 3*r.Float64()
		return Answer{LogP: x, Ref: x + 1.5*r.NormFloat64(), N: 2 + r.IntN(4), Text: -5 * r.Float64(), TextN: 3 + r.IntN(4)}
	}
	var pairs []Pair
	for range 4 {
		pairs = append(pairs, Pair{Chosen: answer(), Rejected: answer(), Weight: r.Float64()})
	}
	for name, f := range pairwise() {
		sum := func() (s float64) {
			out := make([]Grad, len(pairs))
			f(pairs, out)
			for _, g := range out {
				s += g.Loss
			}
			return s
		}
		out := make([]Grad, len(pairs))
		f(pairs, out)
		for i := range pairs {
			p := &pairs[i]
			for _, x := range []struct {
				what string
				at   *float64
				got  float64
			}{{"chosen", &p.Chosen.LogP, out[i].Chosen}, {"rejected", &p.Rejected.LogP, out[i].Rejected},
				{"text", &p.Chosen.Text, out[i].Text}} {
				const h = 1e-5
				was := *x.at
				*x.at = was + h
				up := sum()
				*x.at = was - h
				down := sum()
				*x.at = was
				if want := (up - down) / (2 * h); math.Abs(want-x.got) > 1e-6*max(1, math.Abs(want)) {
					t.Errorf("%s, pair %d, %s: derivative %g, by differences %g", name, i, x.what, x.got, want)
				}
			}
		}
	}
	k := NewKTO()
	k.UndesirableWeight = 1.3
	for _, l := range ktoLosses {
		for _, good := range []bool{true, false} {
			k.LossType = l.key
			a := answer()
			at := func(d float64) float64 {
				b := a
				b.LogP += d
				x, _ := k.Row(&b, good, 0.3)
				return x
			}
			_, got := k.Row(&a, good, 0.3)
			if want := (at(1e-5) - at(-1e-5)) / 2e-5; math.Abs(want-got) > 1e-7 {
				t.Errorf("kto %s %v: derivative %g, by differences %g", l.key, good, got, want)
			}
		}
	}
	o := Reward{CenterRewardsCoefficient: 0.05}
	at := func(dc, dr float64) float64 { x, _, _ := o.Pair(0.7+dc, 0.2+dr, 0.4); return x }
	_, dc, dr := o.Pair(0.7, 0.2, 0.4)
	const h = 1e-5
	if c, r := (at(h, 0)-at(-h, 0))/(2*h), (at(0, h)-at(0, -h))/(2*h); math.Abs(c-dc) > 1e-8 || math.Abs(r-dr) > 1e-8 {
		t.Errorf("reward: derivatives %g and %g, by differences %g and %g", dc, dr, c, r)
	}
}

// TestFinite: losses and derivatives of answers that are certain, and of long ones, are numbers.
func TestFinite(t *testing.T) {
	long := Answer{LogP: -900, Ref: -890, N: 200, Text: -900, TextN: 200}
	certain := Answer{LogP: 0, Ref: -40, N: 3, TextN: 3}
	for name, f := range pairwise() {
		if strings.Contains(name, "forward_kl") || strings.Contains(name, "discopop") {
			continue // exponential by their definition
		}
		for _, p := range []Pair{{certain, certain, 1}, {long, certain, 1}, {certain, long, 1}} {
			out := make([]Grad, 1)
			if f([]Pair{p}, out); name == "cpo sigmoid" || name == "cpo hinge" {
				continue // of AlphaPO, e^{α·900}
			}
			for _, x := range []float64{out[0].Loss, out[0].Chosen, out[0].Rejected, out[0].Text} {
				if math.IsNaN(x) || math.IsInf(x, 0) {
					t.Errorf("%s: %+v", name, out[0])
				}
			}
		}
	}
}

func withLoss(name string, set func(o *DPO)) *DPO {
	o := NewDPO()
	o.LossType = Names{name}
	set(&o)
	return &o
}

// TestSettings: what is wrong is named.
func TestSettings(t *testing.T) {
	for want, o := range map[string]interface{ Check() error }{
		"loss_type is empty": &DPO{Beta: 1},
		"loss_type is \"hing\"; it must be one of sigmoid, hinge":     withLoss("hing", func(o *DPO) { o.DiscopopTau = 0 }),
		"loss_weights has 2 weights for 1":                            withLoss("sft", func(o *DPO) { o.LossWeights = []float64{1, 2} }),
		"beta is 0":                                                   &DPO{LossType: Names{"sft"}},
		"ld_alpha is 1.5":                                             withLoss("sft", func(o *DPO) { o.LDAlpha = 1.5 }),
		"f_divergence_type is \"kl\"":                                 withLoss("sft", func(o *DPO) { o.FDivergenceType = "kl" }),
		"exo_pair takes a label_smoothing above 0":                    withLoss("exo_pair", func(o *DPO) { o.DiscopopTau = 0 }),
		"use_weighting weighs pairs":                                  withLoss("aot", func(o *DPO) { o.UseWeighting = true }),
		"label_smoothing is 0.1, and no loss of [sigmoid] reads it":   withLoss("sigmoid", func(o *DPO) { o.LabelSmoothing = 0.1 }),
		"discopop_tau is 0":                                           withLoss("discopop", func(o *DPO) { o.DiscopopTau = 0 }),
		"it must be one of kto, apo_zero_unpaired":                    &KTO{Beta: 1, LossType: "bco"},
		"desirable_weight is -1":                                      &KTO{Beta: 1, LossType: "kto", DesirableWeight: -1},
		"it must be one of sigmoid, hinge, ipo, simpo":                &CPO{Beta: 1, LossType: "x"},
		"label_smoothing is 0.5; it must be at least 0 and below 0.5": &CPO{Beta: 1, LossType: "simpo", LabelSmoothing: 0.5},
		"cpo_alpha is -1":                                             &CPO{Beta: 1, LossType: "simpo", CPOAlpha: -1},
		"beta is NaN":                                                 &ORPO{Beta: math.NaN()},
		"center_rewards_coefficient is -1":                            &Reward{CenterRewardsCoefficient: -1},
	} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, l := range dpoLosses {
		o := NewDPO()
		o.LossType, o.LabelSmoothing = Names{l.key}, 0
		if l.smooth {
			o.LabelSmoothing = 0.1
		}
		if err := o.Check(); err != nil || o.Whole() != (l.pair == nil) {
			t.Errorf("%s: %v, whole %v", l.key, err, o.Whole())
		}
	}
	var n Names
	if json.Unmarshal([]byte(`"ipo"`), &n) != nil || len(n) != 1 || n[0] != "ipo" {
		t.Errorf("one name is %q", n)
	}
}
