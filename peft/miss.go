package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// MissConfig is HF's MissConfig.
type MissConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	BiasFields
	R           int       `json:"r"`
	MiniR       int       `json:"mini_r"`
	MissDropout Float     `json:"miss_dropout"`
	InitWeights InitNamed `json:"init_weights"` // true, false, "bat" or "mini": also the form
}

// miss is MiSS (Kang and Yin 2024, "MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing Structure", arXiv:2409.15371):
// one matrix D [r, out] is shared by all shards of r columns of W, y = W·x + Dᵀ·Σ_shards x. "mini" repeats mini_r columns of D along the
// outputs. "bat" couples it with the weight, ΔW_ij = W_ij·M_i + M_i for its blocks [r, r] and a matrix M_i for each row of blocks.
type miss struct {
	mergeTuner
	cfg MissConfig
}

func newMiss() Method {
	m := &miss{cfg: MissConfig{Common: newCommon("MISS"), BiasFields: BiasFields{"none"}, R: 64, MiniR: 1,
		InitWeights: InitNamed{On: true}}}
	m.method = "MISS"
	return m
}

func (m *miss) Config() any { return &m.cfg }

// Attach implements Method.
func (m *miss) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if err := firstError(atLeast("MISS", "r", c.R, 1), atLeast("MISS", "mini_r", c.MiniR, 1),
		probability("MISS", "miss_dropout", c.MissDropout)); err != nil {
		return err
	}
	if n := c.InitWeights.Name; n != "" && n != "bat" && n != "mini" {
		return fmt.Errorf("peft: MISS: init_weights = %q; it must be true, false, \"bat\" or \"mini\"", n)
	}
	return m.attach(c, sites, env, func(t *target) error {
		if c.R > t.in {
			return fmt.Errorf("peft: MISS: r = %d is more than the %d inputs of %s; choose a smaller one", c.R, t.in, t.name)
		}
		switch c.InitWeights.Name {
		case "bat":
			if t.in%c.R != 0 || t.out%c.R != 0 {
				return fmt.Errorf("peft: MISS: init_weights \"bat\" needs r = %d to divide the sizes of %s, %d outputs and %d inputs", c.R,
					t.name, t.out, t.in)
			}
			t.param("miss_block", zeros, t.out/c.R, c.R, c.R)
			t.form = bat(t, c.R)
			return nil
		case "mini":
			if t.out%c.MiniR != 0 {
				return fmt.Errorf("peft: MISS: mini_r = %d does not divide the %d outputs of %s", c.MiniR, t.out, t.name)
			}
			t.param("miss_block", zeros, c.R, c.MiniR)
			t.form = shards(t, c.R, c.MiniR, c.MissDropout)
			return nil
		}
		start := zeros
		if !c.InitWeights.On {
			start = uniform(env.Seed, t.key("miss_block"), t.out)
		}
		t.param("miss_block", start, c.R, t.out)
		t.form = shards(t, c.R, t.out, c.MissDropout)
		return nil
	})
}

// shards is the form with a matrix D [r, cols], repeated along the outputs.
func shards(t *target, r, cols int, dropout Float) form {
	return &factors{r: r, scale: 1, dropout: dropout,
		make: func(p [][]float32, a, b []float32) {
			clear(a)
			for i := range t.in { // the sum over shards
				a[i%r*t.in+i] = 1
			}
			for o := range t.out {
				for k := range r {
					b[o*r+k] = p[0][k*cols+o%cols]
				}
			}
		},
		grad: func(p, dp [][]float32, a, b, da, db []float32) {
			for o := 0; dp[0] != nil && o < t.out; o++ {
				for k := range r {
					dp[0][k*cols+o%cols] += db[o*r+k]
				}
			}
		}}
}

// bat is the form with matrices M [out/r, r, r].
func bat(t *target, r int) form {
	n := t.in * r // values of one row of blocks, also a matrix [in, r]
	return &delta{tmp: t.out * t.in,
		make: func(pl *pool.Pool, p [][]float32, dw, tmp []float32) {
			t.weight(tmp)
			for o := range t.out / r {
				m := p[0][o*r*r : (o+1)*r*r]
				kernels.Gemm(pl, t.in, r, r, 1, tmp[o*n:], r, 1, m, r, 1, 0, dw[o*n:], r)
				for a := range r {
					row := dw[(o*r+a)*t.in : (o*r+a+1)*t.in]
					for i := range row {
						row[i] += m[a*r+i%r]
					}
				}
			}
		},
		grad: func(pl *pool.Pool, p, dp [][]float32, g, tmp []float32) {
			if dp[0] == nil {
				return
			}
			t.weight(tmp)
			for o := range t.out / r {
				d := dp[0][o*r*r : (o+1)*r*r]
				kernels.Gemm(pl, r, r, t.in, 1, tmp[o*n:], 1, r, g[o*n:], r, 1, 1, d, r)
				for a := range r {
					for i, x := range g[(o*r+a)*t.in : (o*r+a+1)*t.in] {
						d[a*r+i%r] += x
					}
				}
			}
		}}
}
