package model

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/nn"
)

// openGemma2 reads the Gemma 2 family (Gemma Team 2024): Gemma with norms before and after each sublayer, soft caps on the scores of
// attention and on the logits, and a sliding window in every other layer, beginning with the first.
func openGemma2(c *Config, l *loader) (nn.Wiring, error) {
	d, err := readGemma(c, decoderDefaults{kvHeads: 4, headDim: 256, positions: 8192, eps: 1e-6, theta: 10000, partial: 1, act: gemmaAct})
	if err != nil {
		return nil, err
	}
	if err := d.gemmaAttention(50, 30, func(layer int) bool { return layer%2 == 0 }); err != nil {
		return nil, err
	}
	p := parts{sandwich: true}
	if err := c.fields(field{"attention_bias", &p.qkvBias, false}); err != nil {
		return nil, err
	}
	p.oBias = p.qkvBias
	d.load(l, p)
	return d, nil
}

// gemmaAttention reads the scale of the scores (1/√query_pre_attn_scalar), the soft caps, where null means none, and the windows.
func (d *decoder) gemmaAttention(scores, logits float64, slides func(layer int) bool) error {
	c := d.c
	scalar, window := 256.0, 4096
	for _, s := range []struct {
		key string
		dst *float64
	}{{"attn_logit_softcapping", &scores}, {"final_logit_softcapping", &logits}} {
		if c.null(s.key) {
			*s.dst = 0
		}
		if err := c.fields(field{s.key, s.dst, false}); err != nil {
			return err
		}
		if *s.dst < 0 {
			return fmt.Errorf("config.json: %s is %g", s.key, *s.dst)
		}
	}
	if err := c.fields(field{"query_pre_attn_scalar", &scalar, false}, field{"sliding_window", &window, false}); err != nil {
		return err
	}
	if !(scalar > 0) {
		return fmt.Errorf("config.json: query_pre_attn_scalar is %g", scalar)
	}
	if err := c.only("use_bidirectional_attention", false); err != nil {
		return err
	}
	d.scale, d.cap, d.headCap = float32(1/math.Sqrt(scalar)), float32(scores), float32(logits)
	return d.slide(window, slides)
}
