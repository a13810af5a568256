package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// SaveConverted writes one slot of params, of an adapter whose starting values changed the base (init_lora_weights "pissa",
// "pissa_niter_N", "olora"), as a plain LoRA of the unchanged base, as HF's save_pretrained does with
// path_initial_model_for_weight_conversion: W - s·B₀·A₀ + s·B·A is W + s·[B, -B₀]·[A; A₀], a pair of twice the rank.
func (a *Adapter) SaveConverted(dir string, params *nn.Params, slot int, card Card) error {
	l, ok := a.Method.(*lora)
	if !ok || !slices.ContainsFunc(l.names, func(n string) bool { return l.pairs[n].base != nil }) {
		return fmt.Errorf("peft: a %s adapter that leaves the base as it is needs no conversion", a.Type())
	}
	config, err := l.convertedConfig()
	if err != nil {
		return err
	}
	ts, err := a.tensors(params, slot)
	if err != nil {
		return fmt.Errorf("%w; nothing was written to %s", err, dir)
	}
	for i := range ts {
		for _, name := range l.names {
			p := l.pairs[name]
			if ts[i].Name != p.a.Key && ts[i].Name != p.b.Key {
				continue
			}
			rows, cols := ts[i].Shape[0], ts[i].Shape[1]
			first := make([]float32, rows*cols) // zeros where the base was not changed
			if p.base != nil {
				if p.base.start().full != nil {
					return fmt.Errorf("peft: LORA: init_lora_weights %q replaces the base's weights, so the adapter cannot be converted",
						l.cfg.InitLoraWeights.Name)
				}
				first = p.base.b
				if ts[i].Name == p.a.Key {
					first = p.base.a
				}
			}
			if ts[i].Name == p.a.Key {
				ts[i] = safetensors.F32(ts[i].Name, slices.Concat(ts[i].Data, first), 2*rows, cols)
				break
			}
			both := make([]float32, 0, 2*rows*cols)
			for r := range rows {
				both = append(both, ts[i].Data[r*cols:(r+1)*cols]...)
				for _, v := range first[r*cols : (r+1)*cols] {
					both = append(both, -v)
				}
			}
			ts[i] = safetensors.F32(ts[i].Name, both, rows, 2*cols)
			break
		}
	}
	return a.save(dir, ts, a.configJSON(config, &config.Common), card)
}

// convertedConfig is the configuration of the plain LoRA.
func (l *lora) convertedConfig() (*LoraConfig, error) {
	c := l.cfg
	if c.UseRslora && len(c.RankPattern)+len(c.AlphaPattern) > 0 {
		return nil, fmt.Errorf("peft: LORA: an adapter with init_lora_weights %q, use_rslora and rank_pattern or alpha_pattern cannot be "+
			"converted to a plain one",
			c.InitLoraWeights.Name)
	}
	c.InitLoraWeights = InitWeights{On: true}
	c.R *= 2
	factor := 2.0
	if c.UseRslora {
		factor = math.Sqrt2
	}
	c.LoraAlpha *= factor
	double := func(ps Patterns) Patterns {
		out := slices.Clone(ps)
		for i := range out {
			out[i].Value *= 2
		}
		return out
	}
	c.RankPattern, c.AlphaPattern = double(c.RankPattern), double(c.AlphaPattern)
	return &c, nil
}
