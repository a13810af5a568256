package peft

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// loftqDefaults are HF's LoftQConfig.
var loftqDefaults = map[string]int{"loftq_bits": 4, "loftq_iter": 1}

// loftq reads loftq_config.
func (c *LoraConfig) loftq() (bits, iter int, err error) {
	for _, k := range sortedKeys(c.LoftqConfig) {
		if _, ok := loftqDefaults[k]; !ok {
			return 0, 0, fmt.Errorf("peft: LORA: loftq_config has the unknown field %q; the nearest known one is %q", k,
				nearest.Name(k, sortedKeys(loftqDefaults)))
		}
	}
	get := func(k string) int {
		if v, ok := c.LoftqConfig[k]; ok {
			return v
		}
		return loftqDefaults[k]
	}
	bits, iter = get("loftq_bits"), get("loftq_iter")
	switch {
	case bits != 4:
		return 0, 0, fmt.Errorf("peft: LORA: loftq_bits is %d; adaptflow has 4 (NF4)", bits)
	case iter < 1:
		return 0, 0, fmt.Errorf("peft: LORA: loftq_iter is %d; it must be at least 1", iter)
	}
	return bits, iter, nil
}

// startLoftq is LoftQ (Li et al. 2023, arXiv:2310.08659): the base becomes its NF4 codes, A and B the best rank-r approximation of what
// they miss; with more iterations the codes are those of what A and B miss, and so on by turns. As in HF the base keeps its format and
// takes the codes' values, and A and B are not divided by the scale.
func startLoftq(l *lora, p *pair, s nn.Site) error {
	if l, _ := layoutOf(s.Op); l.Transposed {
		return fmt.Errorf("peft: LORA: init_lora_weights \"loftq\" is for torch.nn.Linear, but %s is stored as [in, out] (Conv1D)", s.Name)
	}
	if len(l.cfg.LoftqConfig) == 0 {
		return fmt.Errorf("peft: LORA: init_lora_weights \"loftq\" needs loftq_config, such as {loftq_bits: 4, loftq_iter: 1}")
	}
	_, iter, err := l.cfg.loftq()
	if err != nil {
		return err
	}
	return l.rebased(p, s, false, func(w []float32) (a, b, changed []float32) {
		out, in := p.b.Rows, p.a.Cols
		left := append([]float32(nil), w...) // what is quantised
		changed = make([]float32, len(w))
		for i := range iter {
			q := quant.Quantize4(quant.NF4, left, out, in, quant.BlockSize, false)
			for k := range changed {
				changed[k] = q.Value(k)
				left[k] = w[k] - changed[k]
			}
			d := svdOf(out, in, left, p.r, -1, philox.Key{})
			for k := range d.s {
				d.s[k] = math.Sqrt(d.s[k])
			}
			a, b = d.factors()
			if i+1 == iter {
				break
			}
			for o := range out {
				for k := range in {
					sum := float32(0)
					for j := range p.r {
						sum += float32(b[o*p.r+j] * a[j*in+k])
					}
					left[o*in+k] = w[o*in+k] - sum
				}
			}
		}
		return a, b, changed
	})
}
