package model

import "github.com/adaptflow/adaptflow/nn"

// openQwen2 reads the Qwen2 family (Yang et al. 2024) and Qwen2.5: Llama's layout with biases on the query, key and value
// projections.
func openQwen2(c *Config, l *loader) (nn.Wiring, error) {
	def := llamaDefaults
	def.kvHeads, def.positions = 32, 32768
	d, err := readDecoder(c, def)
	if err != nil {
		return nil, err
	}
	if err := d.qwenWindows(); err != nil {
		return nil, err
	}
	d.load(l, parts{qkvBias: true})
	return d, nil
}

// qwenWindows reads Qwen's sliding window: use_sliding_window makes the layers from max_window_layers on attend to the last
// sliding_window tokens, or layer_types says which do.
func (d *decoder) qwenWindows() error {
	sliding, window, from := false, 4096, 28
	if err := d.c.fields(field{"use_sliding_window", &sliding, false}, field{"sliding_window", &window, false},
		field{"max_window_layers", &from, false}); err != nil {
		return err
	}
	if !sliding {
		window = 0
	}
	return d.slide(window, func(layer int) bool { return layer >= from })
}
