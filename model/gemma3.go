package model

import (
	"fmt"

	"github.com/adaptflow/adaptflow/nn"
)

// openGemma3 reads the text models of Gemma 3 (Gemma Team 2025): Gemma 2 with norms on each head's query and key instead of soft
// caps; five of six layers slide, with a rotary base of their own (rope_local_base_freq) that no scaling touches.
func openGemma3(c *Config, l *loader) (nn.Wiring, error) {
	d, err := readGemma(c, decoderDefaults{kvHeads: 4, headDim: 256, positions: 131072, eps: 1e-6, theta: 1e6, partial: 1, act: gemmaAct})
	if err != nil {
		return nil, err
	}
	every, theta := 6, 10000.0
	if err := c.fields(field{"sliding_window_pattern", &every, false}, field{"_sliding_window_pattern", &every, false},
		field{"rope_local_base_freq", &theta, false}); err != nil {
		return nil, err
	}
	if every <= 0 {
		return nil, fmt.Errorf("config.json: sliding_window_pattern is %d", every)
	}
	rule := func(layer int) bool { return (layer+1)%every != 0 }
	if err := d.gemmaAttention(0, 0, rule); err != nil {
		return nil, err
	}
	d.embedOwn = true
	if d.cap != 0 {
		return nil, fmt.Errorf("config.json: attn_logit_softcapping: %g is not supported: Gemma 3 has none", d.cap)
	}
	local := ropeScaling{}
	if c.raw["rope_parameters"] != nil {
		s, err := readScaling(c, "sliding_attention")
		if err != nil {
			return nil, err
		}
		if s.Theta > 0 {
			theta, local = s.Theta, s
		}
	}
	r, err := newRope(c, local, theta, 1)
	if err != nil {
		return nil, err
	}
	c.rope.local = theta
	slides, err := d.slidingLayers(rule)
	if err != nil {
		return nil, err
	}
	for i, s := range slides {
		if s {
			d.ropes[i] = r
		}
	}
	p := parts{sandwich: true, qkNorm: true}
	if err := c.fields(field{"attention_bias", &p.qkvBias, false}); err != nil {
		return nil, err
	}
	p.oBias = p.qkvBias
	d.load(l, p)
	return d, nil
}
