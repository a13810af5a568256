package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// LokrConfig is HF's LoKrConfig.
type LokrConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	R                int       `json:"r"`
	Alpha            float64   `json:"alpha"`
	RankDropout      Float     `json:"rank_dropout"`
	RankDropoutScale bool      `json:"rank_dropout_scale"`
	ModuleDropout    Float     `json:"module_dropout"`
	DecomposeBoth    bool      `json:"decompose_both"`
	DecomposeFactor  int       `json:"decompose_factor"`
	InitWeights      InitNamed `json:"init_weights"`
	RankPattern      Patterns  `json:"rank_pattern"`
	AlphaPattern     Patterns  `json:"alpha_pattern"`
}

// lokr is LoKr, the Kronecker product of a small and a larger matrix (Yeh et al. 2023, LyCORIS, arXiv:2309.14859): ΔW = (alpha/r)·w1 ⊗ w2,
// where the sizes are near-square factors of those of W. w2, and w1 with decompose_both, are low-rank products where r is below half their
// size.
type lokr struct {
	mergeTuner
	cfg LokrConfig
}

func newLokr() Method {
	l := &lokr{cfg: LokrConfig{Common: newCommon("LOKR"), R: 8, Alpha: 8, DecomposeFactor: -1, InitWeights: InitNamed{On: true},
		RankPattern: Patterns{}, AlphaPattern: Patterns{}}}
	l.method = "LOKR"
	return l
}

func (l *lokr) Config() any            { return &l.cfg }
func (l *lokr) unused() map[string]any { return map[string]any{"use_effective_conv2d": false} }

// Attach implements Method.
func (l *lokr) Attach(sites []nn.Site, env Env) error {
	c := &l.cfg
	if err := firstError(atLeast("LOKR", "r", c.R, 1), probability("LOKR", "rank_dropout", c.RankDropout),
		probability("LOKR", "module_dropout", c.ModuleDropout), effective("LOKR", "alpha", float64(c.Alpha)),
		rankPattern("LOKR", "rank_pattern", c.RankPattern)); err != nil {
		return err
	}
	if n := c.InitWeights.Name; n != "" && n != "lycoris" {
		return fmt.Errorf("peft: LOKR: init_weights = %q; it must be true, false or \"lycoris\"", n)
	}
	if c.DecomposeFactor < 1 && c.DecomposeFactor != -1 {
		return fmt.Errorf("peft: LOKR: decompose_factor = %d; it must be at least 1, or -1 for factors near the square root",
			c.DecomposeFactor)
	}
	return l.attach(c, sites, env, func(t *target) error {
		r, alpha, err := rankAlpha(c.R, c.RankPattern, c.Alpha, c.AlphaPattern, t.name)
		if err != nil {
			return err
		}
		o1, o2 := factorise(t.out, c.DecomposeFactor)
		i1, i2 := factorise(t.in, c.DecomposeFactor)
		// HF starts w1 at zero, or with "lycoris" w2, in their first or last factor.
		zero1, zero2 := c.InitWeights.On, c.InitWeights.Name == "lycoris"
		w1 := l.matrix(t, env, "lokr_w1", o1, i1, r, c.DecomposeBoth && 2*r < max(o1, i1), zero1, false)
		w2 := l.matrix(t, env, "lokr_w2", o2, i2, r, 2*r < max(o2, i2), false, zero2)
		scale := float32(alpha / float64(r))
		n1, n2 := o1*i1, o2*i2
		at2 := len(w1.sizes)
		t.form = &delta{moduleDropout: c.ModuleDropout, tmp: 2 * (n1 + n2), stepped: rowDropout(t, c.RankDropout, c.RankDropoutScale),
			make: func(pl *pool.Pool, p [][]float32, dw, tmp []float32) {
				kron(dw, w1.value(p[:at2], tmp[:n1]), w2.value(p[at2:], tmp[n1:n1+n2]), o1, i1, o2, i2, scale)
			},
			grad: func(pl *pool.Pool, p, dp [][]float32, g, tmp []float32) {
				a, b := w1.value(p[:at2], tmp[:n1]), w2.value(p[at2:], tmp[n1:n1+n2])
				da, db := tmp[n1+n2:2*n1+n2], tmp[2*n1+n2:2*(n1+n2)]
				kronGrad(g, a, b, da, db, o1, i1, o2, i2, scale)
				w1.grad(p[:at2], dp[:at2], da)
				w2.grad(p[at2:], dp[at2:], db)
			}}
		return nil
	})
}

// lokrMatrix is w1 or w2: one parameter, or a product of two.
type lokrMatrix struct {
	rows, cols, r int
	sizes         []int
}

func (l *lokr) matrix(t *target, env Env, name string, rows, cols, r int, split, zeroFirst, zeroLast bool) lokrMatrix {
	start := func(tensor string, fanIn int, zero bool) func([]float32) {
		if zero {
			return zeros
		}
		return uniform(env.Seed, t.key(tensor), fanIn)
	}
	if !split {
		p := t.param(name, start(name, cols, zeroFirst || zeroLast), rows, cols)
		return lokrMatrix{rows: rows, cols: cols, sizes: []int{p.Size()}}
	}
	a := t.param(name+"_a", start(name+"_a", r, zeroFirst), rows, r)
	b := t.param(name+"_b", start(name+"_b", cols, zeroLast), r, cols)
	return lokrMatrix{rows: rows, cols: cols, r: r, sizes: []int{a.Size(), b.Size()}}
}

func (m lokrMatrix) value(p [][]float32, tmp []float32) []float32 {
	if m.r == 0 {
		return p[0]
	}
	product(nil, tmp, p[0], p[1], m.rows, m.r, m.cols, 1)
	return tmp
}

func (m lokrMatrix) grad(p, dp [][]float32, g []float32) {
	if m.r > 0 {
		productGrad(nil, g, p[0], p[1], dp[0], dp[1], m.rows, m.r, m.cols)
		return
	}
	for i := range dp[0] {
		dp[0][i] += g[i]
	}
}

// kron is w [o1·o2, i1·i2] = scale·(a [o1, i1] ⊗ b [o2, i2]).
func kron(w, a, b []float32, o1, i1, o2, i2 int, scale float32) {
	for x := range o1 {
		for y := range o2 {
			row := w[(x*o2+y)*i1*i2:]
			for u := range i1 {
				v := scale * a[x*i1+u]
				for q, z := range b[y*i2 : (y+1)*i2] {
					row[u*i2+q] = v * z
				}
			}
		}
	}
}

// kronGrad writes the gradients of a and b, given that of w.
func kronGrad(g, a, b, da, db []float32, o1, i1, o2, i2 int, scale float32) {
	clear(da)
	clear(db)
	for x := range o1 {
		for y := range o2 {
			row := g[(x*o2+y)*i1*i2:]
			for u := range i1 {
				v, sum := scale*a[x*i1+u], float32(0)
				for q, z := range b[y*i2 : (y+1)*i2] {
					e := row[u*i2+q]
					sum += float32(e * z)
					db[y*i2+q] += float32(v * e)
				}
				da[x*i1+u] += float32(scale * sum)
			}
		}
	}
}

// factorise writes n as a product of two factors, the smaller first: the divisor factor where it divides n, else those nearest to the
// square root of which the smaller is at most factor (-1: no bound), as LyCORIS does.
func factorise(n, factor int) (int, int) {
	if factor > 0 && n%factor == 0 {
		return factor, n / factor
	}
	if factor == -1 {
		factor = n
	}
	a, b := 1, n
	sum := a + b
	for a < b {
		next := a + 1
		for n%next != 0 {
			next++
		}
		if next+n/next > sum || next > factor {
			break
		}
		a, b = next, n/next
	}
	if a > b {
		a, b = b, a
	}
	return a, b
}
