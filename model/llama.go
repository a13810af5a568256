package model

import "github.com/adaptflow/adaptflow/nn"

// openLlama reads the Llama family (Touvron et al. 2023; Llama 3: Grattafiori et al. 2024), and what uses its code: TinyLlama,
// SmolLM2, Llama 3.2. attention_bias puts biases on all four projections of attention, mlp_bias on those of the MLP.
func openLlama(c *Config, l *loader) (nn.Wiring, error) {
	d, err := readDecoder(c, llamaDefaults)
	if err != nil {
		return nil, err
	}
	var p parts
	if err := c.fields(field{"attention_bias", &p.qkvBias, false}, field{"mlp_bias", &p.mlpBias, false}); err != nil {
		return nil, err
	}
	if err := c.only("pretraining_tp", 1.0, 0.0); err != nil {
		return nil, err
	}
	p.oBias = p.qkvBias
	d.load(l, p)
	return d, nil
}
