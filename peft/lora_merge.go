package peft

import (
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Merge implements Merger: W + scale·B·A in the base's layout, where W is what the starting values have made of the base's weight, and with
// DoRA its rows at their magnitudes. lora_bias is added to the module's bias.
func (l *lora) Merge(value func(string) []float32, base func(string) ([]float32, error), want Wanted) (map[string][]float32, error) {
	if err := l.mergeable(); err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for _, name := range l.names {
		p := l.pairs[name]
		if p.tied != nil || !want.has(name) {
			continue // a tied one's weight is the embedding's
		}
		w, err := base(name + ".weight")
		if err != nil {
			return nil, fmt.Errorf("peft: merging %s: %w", name, err)
		}
		a, b := value(p.a.Name), value(p.b.Name)
		rows, cols := p.b.Rows, p.a.Cols // out, in
		if len(w) != rows*cols {
			return nil, fmt.Errorf("peft: merging %s: the base tensor has %d values, the adapter is for [%d, %d]", name, len(w), rows, cols)
		}
		m := slices.Clone(w)
		if p.base != nil {
			p.base.merge(m, l.conv[name])
		}
		if p.kind == nn.KindEmbedding || l.conv[name] { // stored [in, out]: Aᵀ·Bᵀ
			kernels.Gemm(nil, cols, rows, p.r, float32(p.scale), a, 1, cols, b, 1, p.r, 1, m, rows)
		} else {
			kernels.Gemm(nil, rows, cols, p.r, float32(p.scale), b, p.r, 1, a, cols, 1, 1, m, cols)
		}
		if p.dora != nil {
			p.dora.merge(m, value(p.dora.m.Name), p.kind == nn.KindEmbedding || l.conv[name])
		}
		out[name+".weight"] = m
	}
	if err := l.extra.merge(out, value, base, want); err != nil {
		return nil, err
	}
	return out, l.mergeBias(out, value, want)
}

// unties implements untier.
func (l *lora) unties() bool {
	for _, p := range l.pairs {
		if p.vocab && (l.tying == nil || l.tying.save) {
			return true
		}
	}
	return l.extra.unties()
}

// mergeable says why the adapter cannot be merged.
func (l *lora) mergeable() error {
	switch {
	case l.cfg.AloraInvocationTokens != nil:
		return fmt.Errorf("peft: LORA: an adapter with alora_invocation_tokens cannot be merged: the base alone computes what precedes " +
			"the invocation")
	case l.cfg.LayerReplication != nil:
		return fmt.Errorf("peft: LORA: an adapter with layer_replication cannot be merged: its copies of a layer differ")
	}
	return nil
}

// mergeBias adds lora_bias to the biases of the modules.
func (l *lora) mergeBias(out map[string][]float32, value func(string) []float32, want Wanted) error {
	for _, name := range l.names {
		p := l.pairs[name]
		if p.bias == nil || !want.has(name) {
			continue
		}
		bias, ok := out[name+".bias"]
		if !ok {
			if p.biasOf == nil {
				return fmt.Errorf("peft: merging %s: lora_bias cannot be merged into a layer without a bias", name)
			}
			bias = append([]float32(nil), p.biasOf...)
		}
		for i, v := range value(p.bias.Name) {
			bias[i] += float32(float32(p.scale) * v)
		}
		out[name+".bias"] = bias
	}
	return nil
}

// unmergeable says why a merge cannot be undone: DoRA normalises the weights, and their lengths are gone.
func (l *lora) unmergeable() error {
	if l.cfg.UseDora {
		return fmt.Errorf("peft: DoRA normalises the weights, so the merged model does not hold the lengths of the base's any more; use " +
			"the base model itself")
	}
	return nil
}
