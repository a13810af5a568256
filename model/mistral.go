package model

import "github.com/adaptflow/adaptflow/nn"

// openMistral reads the Mistral family (Jiang et al. 2023): Llama's layout in which every layer attends to the last sliding_window
// tokens, or to all when it is null.
func openMistral(c *Config, l *loader) (nn.Wiring, error) {
	def := llamaDefaults
	def.kvHeads, def.positions = 8, 4096*32
	d, err := readDecoder(c, def)
	if err != nil {
		return nil, err
	}
	window := 4096
	if c.null("sliding_window") {
		window = 0
	}
	if err := c.fields(field{"sliding_window", &window, false}); err != nil {
		return nil, err
	}
	if err := d.slide(window, everyLayer); err != nil {
		return nil, err
	}
	d.load(l, parts{})
	return d, nil
}
