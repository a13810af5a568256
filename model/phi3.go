package model

import "github.com/adaptflow/adaptflow/nn"

// openPhi3 reads the Phi-3 family (Abdin et al. 2024): Llama's with one projection for query, key and value
// (qkv_proj) and one for gate and up (gate_up_proj). Every layer attends to the last sliding_window tokens unless it is null.
func openPhi3(c *Config, l *loader) (nn.Wiring, error) {
	def := llamaDefaults
	def.positions, def.eps = 4096, 1e-5
	d, err := readDecoder(c, def)
	if err != nil {
		return nil, err
	}
	window := 0
	if err := c.fields(field{"sliding_window", &window, false}); err != nil {
		return nil, err
	}
	if err := d.slide(window, everyLayer); err != nil {
		return nil, err
	}
	d.load(l, parts{fused: true})
	return d, nil
}
