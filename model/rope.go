package model

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// rope is the rotary embedding of a layer: the first dim elements of each head turn, the others stay.
type rope struct {
	table *kernels.RopeTable
	dim   int
	long  *kernels.RopeTable // of documents of more than limit positions; nil where all use table
	limit int
	// frequencies, where not nil, are those of documents of more than limit positions, by their length.
	frequencies func(length int) []float64
}

// ropeFacts say what a family's rotary embedding was made of, for files of other formats.
type ropeFacts struct {
	scaling ropeScaling
	theta   float64
	local   float64 // the base of sliding layers, 0 where it is theta
	dim     int     // elements of each head that turn
}

// apply rotates x, heads of headDim each.
func (r rope) apply(b *nn.Builder, heads, headDim int, x nn.Ref) nn.Ref {
	if r.frequencies != nil {
		return b.Apply(&nn.DynamicRope{Heads: heads, HeadDim: headDim, RotaryDim: r.dim, Table: r.table, Limit: r.limit,
			Frequencies: r.frequencies}, x)
	}
	if r.long != nil {
		return b.Apply(&nn.LongRope{Heads: heads, HeadDim: headDim, RotaryDim: r.dim, Short: r.table, Long: r.long, Limit: r.limit}, x)
	}
	return b.Apply(&nn.Rope{Heads: heads, HeadDim: headDim, RotaryDim: r.dim, Table: r.table}, x)
}

// ropeScaling is rope_scaling of config.json, or rope_parameters of newer files.
type ropeScaling struct {
	RopeType string  `json:"rope_type"`
	Type     string  `json:"type"`
	Factor   float64 `json:"factor"`
	Low      float64 `json:"low_freq_factor"`
	High     float64 `json:"high_freq_factor"`
	Original float64 `json:"original_max_position_embeddings"`
	Theta    float64 `json:"rope_theta"`
	Partial  float64 `json:"partial_rotary_factor"`

	AttentionFactor *float64 `json:"attention_factor"`
	BetaFast        float64  `json:"beta_fast"`
	BetaSlow        float64  `json:"beta_slow"`
	MScale          float64  `json:"mscale"`
	MScaleAll       float64  `json:"mscale_all_dim"`
	Truncate        *bool    `json:"truncate"`

	Short []float64 `json:"short_factor"`
	LongF []float64 `json:"long_factor"`
}

// readScaling reads the scaling that holds for layers of the type layer ("full_attention"), or for all where the file makes no
// difference.
func readScaling(c *Config, layer string) (s ropeScaling, err error) {
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		raw, ok := c.raw[key]
		if !ok || string(raw) == "null" {
			continue
		}
		var each map[string]json.RawMessage
		if json.Unmarshal(raw, &each) == nil && each[layer] != nil {
			raw = each[layer]
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return s, fmt.Errorf("config.json: %s: %w", key, err)
		}
	}
	if s.RopeType == "" {
		s.RopeType = s.Type
	}
	return s, nil
}

// readRope makes the rotary embedding of heads of dim elements with the base theta: partial_rotary_factor (partial, where config.json
// does not say) of them turn.
func readRope(c *Config, theta, partial float64) (rope, error) {
	s, err := readScaling(c, "full_attention")
	if err != nil {
		return rope{}, err
	}
	if _, err := c.read("partial_rotary_factor", &partial); err != nil {
		return rope{}, err
	}
	if s.Partial > 0 {
		partial = s.Partial
	}
	if s.Theta > 0 {
		theta = s.Theta
	}
	r, err := newRope(c, s, theta, partial)
	c.rope = ropeFacts{scaling: s, theta: theta, dim: r.dim}
	return r, err
}

// newRope computes the inverse frequencies as transformers' ROPE_INIT_FUNCTIONS do, in float32: the types "default", "linear",
// "llama3" (Llama 3.1's wavelength-dependent scaling), "longrope" (Phi-3's, "su" in its first files), "yarn" and "dynamic".
func newRope(c *Config, s ropeScaling, theta, partial float64) (rope, error) {
	dim := int(float64(c.HeadDim) * partial)
	if !(partial > 0 && partial <= 1) || dim < 2 || dim%2 != 0 {
		return rope{}, fmt.Errorf("config.json: partial_rotary_factor %g of heads of %d elements leaves %d to rotate: it must be an even "+
			"number of at least 2", partial, c.HeadDim, dim)
	}
	r, scale := rope{dim: dim}, 1.0
	inv := make([]float32, dim/2)
	for i := range inv {
		inv[i] = 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
	}
	switch s.RopeType {
	case "", "default":
	case "linear":
		if s.Factor <= 0 {
			return rope{}, fmt.Errorf("config.json: rope_scaling: factor is %g", s.Factor)
		}
		for i := range inv {
			inv[i] /= float32(s.Factor)
		}
	case "llama3":
		if s.Factor <= 0 || s.Low <= 0 || s.High <= s.Low || s.Original <= 0 {
			return rope{}, fmt.Errorf("config.json: rope_scaling: llama3 needs factor, low_freq_factor < high_freq_factor and " +
				"original_max_position_embeddings")
		}
		llama3(inv, s)
	case "longrope", "su":
		return longRope(c, s, theta, dim)
	case "yarn":
		var err error
		if inv, scale, err = yarn(c, s, theta, dim); err != nil {
			return rope{}, err
		}
		c.reach(s.Factor, cmp.Or(s.Original, float64(c.MaxPositions)))
	case "dynamic":
		if !(s.Factor >= 1) || math.IsInf(s.Factor, 0) || dim < 4 {
			return rope{}, fmt.Errorf("config.json: rope_scaling: dynamic needs a factor of at least 1 and 4 elements that turn; factor "+
				"is %g, and %d turn", s.Factor, dim)
		}
		trained := c.MaxPositions
		r.limit, r.frequencies = trained, func(length int) []float64 { return ntk(theta, s.Factor, trained, length, dim) }
		c.reach(s.Factor, float64(trained))
	default:
		return rope{}, fmt.Errorf("config.json: rope_scaling: type %q is not supported (supported: default, dynamic, linear, llama3, "+
			"longrope, yarn)", s.RopeType)
	}
	wide := make([]float64, len(inv))
	for i, f := range inv {
		wide[i] = float64(f)
	}
	r.table = kernels.NewRopeTable(wide, c.MaxPositions, scale)
	return r, nil
}

// reach raises the number of positions to what the scaling is made for. transformers has no bound; max_position_embeddings may be the one
// before scaling.
func (c *Config) reach(factor, original float64) {
	if n := factor * original; n > float64(c.MaxPositions) && n < 1<<28 {
		c.MaxPositions = int(n)
	}
}

// longRope makes the two tables of LongRoPE (Ding et al. 2024): each frequency is divided by a factor of its own, and cosines and sines
// are multiplied by attention_factor, √(1 + ln(factor)/ln(original positions)) where it is not given.
func longRope(c *Config, s ropeScaling, theta float64, dim int) (rope, error) {
	original, factor := 0, s.Factor
	if err := c.fields(field{"original_max_position_embeddings", &original, false}); err != nil {
		return rope{}, err
	}
	if c.raw["rope_parameters"] != nil && original == 0 { // newer files have it there
		original = int(s.Original)
	}
	if original > 0 {
		factor = float64(c.MaxPositions) / float64(original)
	} else {
		original = c.MaxPositions
	}
	scale := 1.0
	if s.AttentionFactor != nil {
		scale = *s.AttentionFactor
	} else {
		if factor > 1 {
			scale = math.Sqrt(1 + math.Log(factor)/math.Log(float64(original)))
		}
	}
	r := rope{dim: dim, limit: original}
	for _, f := range []struct {
		key  string
		by   []float64
		into **kernels.RopeTable
	}{{"short_factor", s.Short, &r.table}, {"long_factor", s.LongF, &r.long}} {
		if len(f.by) != dim/2 {
			return rope{}, fmt.Errorf("config.json: rope_scaling: %s has %d values, but %d frequencies turn", f.key, len(f.by), dim/2)
		}
		inv := make([]float64, dim/2)
		for i, by := range f.by {
			if !(by > 0) {
				return rope{}, fmt.Errorf("config.json: rope_scaling: %s holds %g", f.key, by)
			}
			power := float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
			inv[i] = float64(1 / (float32(by) * power))
		}
		*f.into = kernels.NewRopeTable(inv, c.MaxPositions, scale)
	}
	return r, nil
}

// llama3 stretches the long wavelengths by the factor, leaves the short ones, and blends those between.
func llama3(inv []float32, s ropeScaling) {
	for i, f := range inv {
		wave := float32(2*math.Pi) / f
		switch {
		case float64(wave) > s.Original/s.Low:
			inv[i] = f / float32(s.Factor)
		case float64(wave) >= s.Original/s.High:
			smooth := (float32(s.Original)/wave - float32(s.Low)) / float32(s.High-s.Low)
			inv[i] = float32((1-smooth)*(f/float32(s.Factor))) + float32(smooth*f)
		}
	}
}
