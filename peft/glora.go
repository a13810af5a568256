package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// GloraConfig is HF's GloraConfig.
type GloraConfig struct {
	Common
	TargetFields
	BiasFields
	R           int    `json:"r"`
	ConfigAB    string `json:"config_A_B"` // "lora", "vector", "constant" or "none"
	ConfigC     string `json:"config_C"`   // "lora", "vector" or "none"
	ConfigDE    string `json:"config_D_E"` // "vector", "constant" or "none"
	InitWeights bool   `json:"init_weights"`
}

// glora is GLoRA (Chavan et al. 2023, "One-for-All: Generalized LoRA for Parameter-Efficient Fine-tuning", arXiv:2306.07967):
// W' = W + W ⊙ A + B and, where the layer has a bias b, b' = b + b ⊙ D + E + W·C. Each of A to E is a low-rank product, a vector, a number
// or nothing.
type glora struct {
	mergeTuner
	cfg GloraConfig
}

func newGlora() Method {
	g := &glora{cfg: GloraConfig{Common: newCommon("GLORA"), BiasFields: BiasFields{"none"}, R: 8, ConfigAB: "lora", ConfigC: "lora",
		ConfigDE: "constant", InitWeights: true}}
	g.method = "GLORA"
	return g
}

func (g *glora) Config() any { return &g.cfg }

// Attach implements Method.
func (g *glora) Attach(sites []nn.Site, env Env) error {
	c := &g.cfg
	if err := atLeast("GLORA", "r", c.R, 1); err != nil {
		return err
	}
	for _, f := range []struct {
		name, value string
		known       []string
	}{{"config_A_B", c.ConfigAB, []string{"lora", "vector", "constant", "none"}},
		{"config_C", c.ConfigC, []string{"lora", "vector", "none"}},
		{"config_D_E", c.ConfigDE, []string{"vector", "constant", "none"}}, {"bias", c.Bias, []string{"none"}}} {
		if !slices.Contains(f.known, f.value) {
			return fmt.Errorf("peft: GLORA: %s = %q; it must be one of %q", f.name, f.value, f.known)
		}
	}
	return g.attach(c, sites, env, func(t *target) error {
		if err := rankFits("GLORA", "r", c.R, t.in, t.out, t.name); err != nil {
			return err
		}
		bias := t.base().Bias
		cc, cd := c.ConfigC, c.ConfigDE
		if bias == nil {
			cc, cd = "none", "none"
		}
		paths := []*gloraPath{
			g.path(t, env, "A", c.ConfigAB, t.out, t.in, true), g.path(t, env, "B", c.ConfigAB, t.out, t.in, true),
			g.path(t, env, "C", cc, t.in, 1, true), g.path(t, env, "D", cd, t.out, 1, false), g.path(t, env, "E", cd, t.out, 1, false)}
		a, b, pc, pd, pe := paths[0], paths[1], paths[2], paths[3], paths[4]
		n := t.out * t.in
		d := &delta{tmp: 2*n + t.in,
			make: func(pl *pool.Pool, p [][]float32, dw, tmp []float32) {
				w := tmp[:n]
				t.weight(w)
				a.value(pl, p, dw)
				multiply(dw, dw, w)
				b.value(pl, p, tmp[n:2*n])
				for i, v := range tmp[n : 2*n] {
					dw[i] += v
				}
			},
			grad: func(pl *pool.Pool, p, dp [][]float32, gr, tmp []float32) {
				b.grad(pl, p, dp, gr)
				t.weight(tmp[:n])
				multiply(gr, gr, tmp[:n])
				a.grad(pl, p, dp, gr)
			}}
		if pc.kind != "none" || pd.kind != "none" {
			d.makeBias = func(p [][]float32, db, tmp []float32) {
				w, col, tm := tmp[:n], tmp[2*n:2*n+t.in], tmp[n:n+t.out]
				t.weight(w)
				pc.value(nil, p, col)
				product(nil, db, w, col, t.out, t.in, 1, 1)
				pd.value(nil, p, tm)
				for i := range db {
					db[i] += float32(tm[i] * bias[i])
				}
				pe.value(nil, p, tm)
				for i := range db {
					db[i] += tm[i]
				}
			}
			d.gradBias = func(p, dp [][]float32, gb, tmp []float32) {
				w, col, tm := tmp[:n], tmp[2*n:2*n+t.in], tmp[n:n+t.out]
				pe.grad(nil, p, dp, gb)
				multiply(tm, gb, bias)
				pd.grad(nil, p, dp, tm)
				t.weight(w)
				product(nil, col, gb, w, 1, t.out, t.in, 1)
				pc.grad(nil, p, dp, col)
			}
		}
		t.form = d
		return nil
	})
}

// gloraPath is one of A to E: a matrix [rows, cols] made of parameters.
type gloraPath struct {
	kind       string
	rows, cols int
	r          int
	at         int // of its first parameter among the target's
}

// path declares the parameters of a support tensor, or the frozen zeros that HF writes for "none".
func (g *glora) path(t *target, env Env, name, kind string, rows, cols int, column bool) *gloraPath {
	c := &g.cfg
	x := &gloraPath{kind: kind, rows: rows, cols: cols, r: c.R, at: len(t.params)}
	name = "glora_" + name
	start := func(tensor string, fanIn int) func([]float32) {
		if c.InitWeights {
			return zeros
		}
		return uniform(env.Seed, t.key(tensor), fanIn)
	}
	shape := []int{rows}
	if column {
		shape = []int{rows, 1}
	}
	switch kind {
	case "lora":
		t.param(name+".Xd", start(name+".Xd", c.R), rows, c.R)
		t.param(name+".Xu", uniform(env.Seed, t.key(name+".Xu"), cols), c.R, cols)
	case "vector":
		fan := 1
		if !column {
			fan = rows
		}
		t.param(name+".X", start(name+".X", fan), shape...)
	case "constant":
		one := zeros
		if !c.InitWeights {
			one = normal(env.Seed, t.key(name+".X"), 0.02)
		}
		t.param(name+".X", one, 1)
	default:
		if cols > 1 {
			shape = []int{rows, cols}
		}
		g.frozen = append(g.frozen, Frozen{Key: t.key(name + ".zeros"), Shape: shape,
			Values: func() []float32 { return make([]float32, rows*cols) }})
	}
	return x
}

// value writes the matrix.
func (x *gloraPath) value(pl *pool.Pool, p [][]float32, dst []float32) {
	switch x.kind {
	case "lora":
		product(pl, dst, p[x.at], p[x.at+1], x.rows, x.r, x.cols, 1)
	case "vector":
		for i := range dst {
			dst[i] = p[x.at][i/x.cols]
		}
	case "constant":
		for i := range dst {
			dst[i] = p[x.at][0]
		}
	default:
		clear(dst)
	}
}

// grad adds the parameters' gradients, given that of the matrix.
func (x *gloraPath) grad(pl *pool.Pool, p, dp [][]float32, g []float32) {
	switch x.kind {
	case "lora":
		productGrad(pl, g, p[x.at], p[x.at+1], dp[x.at], dp[x.at+1], x.rows, x.r, x.cols)
	case "vector", "constant":
		d := dp[x.at]
		for r := 0; d != nil && r < x.rows; r++ {
			sum := 0.0
			for _, v := range g[r*x.cols : (r+1)*x.cols] {
				sum += float64(v)
			}
			d[r%len(d)] += float32(sum)
		}
	}
}
