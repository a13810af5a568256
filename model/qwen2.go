package model

import "github.com/adaptflow/adaptflow/nn"

// openQwen2 reads the Qwen2 family (Yang et al. 2024) and Qwen2.5: Llama's layout with biases on the query, key and value
// projections. use_sliding_window makes the layers from max_window_layers on attend to the last sliding_window tokens, or
// layer_types says which do.
func openQwen2(c *Config, l *loader) (nn.Wiring, error) {
	d, err := readDecoder(c)
	if err != nil {
		return nil, err
	}
	sliding, window, from := false, 0, 28
	var types []string
	if err := c.fields(field{"use_sliding_window", &sliding, false}, field{"sliding_window", &window, false},
		field{"max_window_layers", &from, false}, field{"layer_types", &types, false}); err != nil {
		return nil, err
	}
	for i := range d.windows {
		if sliding && (len(types) == c.Layers && types[i] == "sliding_attention" || len(types) != c.Layers && i >= from) {
			d.windows[i] = window
		}
	}
	d.load(l, biases{qkv: true})
	return d, nil
}
