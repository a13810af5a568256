package model

import "github.com/adaptflow/adaptflow/nn"

// openQwen3 reads the Qwen3 family (Yang et al. 2025), dense: Llama's layout with a norm on each head's query and key, and heads whose
// size does not follow from the hidden size.
func openQwen3(c *Config, l *loader) (nn.Wiring, error) {
	def := llamaDefaults
	def.kvHeads, def.headDim, def.positions = 32, 128, 32768
	d, err := readDecoder(c, def)
	if err != nil {
		return nil, err
	}
	if err := d.qwenWindows(); err != nil {
		return nil, err
	}
	p := parts{qkNorm: true}
	if err := c.fields(field{"attention_bias", &p.qkvBias, false}); err != nil {
		return nil, err
	}
	p.oBias = p.qkvBias
	d.load(l, p)
	return d, nil
}
