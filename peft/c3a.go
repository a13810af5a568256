package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/nn"
)

// C3AConfig is HF's C3AConfig.
type C3AConfig struct {
	Common
	TargetFields
	LayerFields
	BiasFields
	BlockSize        int       `json:"block_size"`
	BlockSizePattern Patterns  `json:"block_size_pattern"`
	InitWeights      InitNamed `json:"init_weights"`
}

// c3a is C³A, circular convolution adaptation (Chen et al. 2024, "Parameter-Efficient Fine-Tuning via Circular Convolution",
// arXiv:2407.19342): ΔW [out, in] is made of circulant blocks of block_size, each of one row w of the parameter, ΔW[k, j] = w[(j-k) mod
// block_size]/in. The products are taken frequency by frequency.
//
// The gradient of the input is HF PEFT 0.21.2's, which takes w[(j+k) mod block_size] there, the transpose of the block read backwards,
// rather than the derivative. It reaches what lies below an adapted layer only; the gradient of the layer's own parameter is exact. So a
// run repeats HF's numbers.
type c3a struct {
	mergeTuner
	cfg C3AConfig
}

func newC3A() Method {
	m := &c3a{cfg: C3AConfig{Common: newCommon("C3A"), BiasFields: BiasFields{Bias: "none"}, BlockSize: 256, BlockSizePattern: Patterns{},
		InitWeights: InitNamed{Name: "xavier_uniform"}}}
	m.method = "C3A"
	return m
}

func (m *c3a) Config() any { return &m.cfg }

// Attach implements Method.
func (m *c3a) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if err := rankPattern("C3A", "block_size_pattern", c.BlockSizePattern); err != nil {
		return err
	}
	return m.attach(c, sites, env, func(t *target) error {
		v, err := pattern("block_size_pattern", c.BlockSizePattern, t.name, float64(c.BlockSize))
		if err != nil {
			return err
		}
		b := int(v)
		if b < 1 || t.in%b != 0 || t.out%b != 0 {
			return fmt.Errorf("peft: C3A: %s is [%d, %d], and block_size = %d does not divide both; the largest that does is %d",
				t.name, t.out, t.in, b, gcd(t.in, t.out))
		}
		init, bound := zeros, 0.0
		switch name := c.InitWeights.Name; {
		case c.InitWeights.On:
		case name == "gaussian":
			init = normal(env.Seed, t.key("c3a_kernel"), 1)
		case name == "" || name == "xavier_uniform":
			bound = math.Sqrt(6 / float64(t.in+t.out))
		case name == "kaiming_uniform":
			bound = math.Sqrt(1 / float64(t.in))
		default:
			return fmt.Errorf("peft: C3A: init_weights = %q; it must be true, false, \"gaussian\", \"kaiming_uniform\" or "+
				"\"xavier_uniform\"", name)
		}
		if bound > 0 {
			init = uniformWithin(env.Seed, t.key("c3a_kernel"), bound)
		}
		t.param("c3a_kernel", init, t.out/b, t.in/b, b)
		t.form = newCirculant(b, t.out/b, t.in/b)
		return nil
	})
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
