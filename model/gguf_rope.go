package model

import (
	"errors"
	"fmt"
	"math"
)

// The tensors of rotary factors: a frequency is divided by its factor.
const (
	ropeFreqs        = "rope_freqs.weight"
	ropeFactorsLong  = "rope_factors_long.weight"
	ropeFactorsShort = "rope_factors_short.weight"
)

// scaling adds rope_scaling to config.json: of the metadata, or of the tensors of factors, for dim elements of a head that turn.
func (r *ggufReader) scaling(theta float64, dim int) {
	kind, said, err := r.meta.String(r.arch + ".rope.scaling.type")
	r.fail(err)
	factor, ok := r.number("rope.scaling.factor")
	if !ok {
		factor, _ = r.number("rope.scale_linear")
	}
	original, _ := r.integer("rope.scaling.original_context_length")
	s := map[string]any{}
	switch {
	case r.has(ropeFactorsLong) || r.has(ropeFactorsShort):
		s["rope_type"] = "longrope"
		s["long_factor"], s["short_factor"] = r.factors(ropeFactorsLong, dim), r.factors(ropeFactorsShort, dim)
		context, _ := r.integer("context_length")
		if original == 0 {
			original = context
		}
		r.out["original_max_position_embeddings"] = original
		if v, ok := r.number("rope.scaling.attn_factor"); ok {
			s["attention_factor"] = v
			x := float64(context) / float64(original)
			if rule := math.Sqrt(1 + math.Log(x)/math.Log(float64(original))); x > 1 && math.Abs(rule/v-1) < 1e-6 {
				delete(s, "attention_factor") // the rule's own
			}
		}
	case r.has(ropeFreqs):
		s = r.frequencies(theta, dim)
	case kind == "yarn":
		s["rope_type"], s["factor"] = "yarn", factor
		if original > 0 {
			s["original_max_position_embeddings"] = original
		}
		for key, hf := range map[string]string{"yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow",
			"yarn_attn_factor": "attention_factor"} {
			if v, ok := r.number("rope.scaling." + key); ok {
				s[hf] = v
			}
		}
		if v, ok := r.number("rope.scaling.attn_factor"); ok && v != 1 {
			r.fail(fmt.Errorf("%s.rope.scaling.attn_factor is %g, which is not supported for yarn", r.arch, v))
		}
	case kind == "linear" || !said:
		if factor != 0 && factor != 1 {
			s["rope_type"], s["factor"] = "linear", factor
		}
	case kind == "none":
	default:
		r.fail(fmt.Errorf("%s.rope.scaling.type is %q; supported are linear, yarn, longrope and none", r.arch, kind))
	}
	if len(s) > 0 {
		r.out["rope_scaling"] = s
	}
}

// factors reads a tensor of factors.
func (r *ggufReader) factors(name string, dim int) []float64 {
	x, err := r.file.Float32(name)
	r.fail(err)
	if err == nil && len(x) != dim/2 {
		r.fail(fmt.Errorf("tensor %q has %d factors, and %d frequencies turn", name, len(x), dim/2))
	}
	out := make([]float64, len(x))
	for i, v := range x {
		if !(v > 0) || math.IsInf(float64(v), 0) {
			r.fail(fmt.Errorf("tensor %q holds %g", name, v))
		}
		out[i] = shortest(float64(v))
	}
	return out
}

// frequencies is rope_scaling of the factors of rope_freqs: the settings of Llama 3 that make them, or else the factors themselves.
func (r *ggufReader) frequencies(theta float64, dim int) map[string]any {
	x := r.factors(ropeFreqs, dim)
	most := 0.0
	for _, v := range x {
		most = max(most, v)
	}
	if r.err != nil || most == 1 {
		return nil
	}
	for original := 8192.0; original > 8; original /= 2 {
		for _, wide := range []float64{original, 8192 * 8192 / original} { // outwards from what Llama 3 has
			for _, high := range []float64{4, 2, 8, 16} {
				s := ropeScaling{RopeType: "llama3", Factor: most, Low: 1, High: high, Original: wide}
				if made := llama3Factors(s, theta, dim); near(made, x) {
					return map[string]any{"rope_type": "llama3", "factor": most, "low_freq_factor": 1.0, "high_freq_factor": high,
						"original_max_position_embeddings": int(wide)}
				}
			}
		}
	}
	return map[string]any{"rope_type": "longrope", "long_factor": x, "short_factor": x, "attention_factor": 1.0}
}

func near(a []float32, b []float64) bool {
	for i, v := range a {
		if math.Abs(float64(v)-b[i]) > 1e-4*b[i] {
			return false
		}
	}
	return true
}

// llama3Factors are what Llama 3's scaling divides the frequencies by.
func llama3Factors(s ropeScaling, theta float64, dim int) []float32 {
	out := make([]float32, dim/2)
	for i := range out {
		wave := 2 * math.Pi * math.Pow(theta, float64(2*i)/float64(dim))
		switch {
		case wave < s.Original/s.High:
			out[i] = 1
		case wave > s.Original/s.Low:
			out[i] = float32(s.Factor)
		default:
			smooth := (s.Original/wave - s.Low) / (s.High - s.Low)
			out[i] = float32(1 / ((1-smooth)/s.Factor + smooth))
		}
	}
	return out
}

// scaling adds rope_scaling of config.json.
func (w *ggufWriter) scaling() {
	c, s := w.c, w.c.rope.scaling
	switch s.RopeType {
	case "", "default":
	case "linear":
		w.set("rope.scaling.type", "linear")
		w.set("rope.scaling.factor", float32(s.Factor))
	case "yarn":
		w.set("rope.scaling.type", "yarn")
		w.set("rope.scaling.factor", float32(s.Factor))
		original := s.Original
		if original == 0 {
			original = w.float("max_position_embeddings")
		}
		w.set("rope.scaling.original_context_length", uint32(original))
		if s.BetaFast != 0 {
			w.set("rope.scaling.yarn_beta_fast", float32(s.BetaFast))
		}
		if s.BetaSlow != 0 {
			w.set("rope.scaling.yarn_beta_slow", float32(s.BetaSlow))
		}
		if s.MScale != 0 || s.MScaleAll != 0 || s.Truncate != nil && !*s.Truncate {
			w.cannot("yarn's mscale, mscale_all_dim or truncate: false")
		}
		if s.AttentionFactor != nil {
			w.set("rope.scaling.yarn_attn_factor", float32(*s.AttentionFactor))
		}
	case "llama3":
		w.more = append(w.more, GGUFExtra{ropeFreqs, llama3Factors(s, c.rope.theta, c.rope.dim)})
	case "longrope", "su":
		w.longRope(s)
	default:
		w.cannot("rope_scaling of the type %q", s.RopeType)
	}
}

// longRope adds LongRoPE's two lists of factors. Of Llama's architecture llama.cpp reads one list, which serves where both are the same.
func (w *ggufWriter) longRope(s ropeScaling) {
	original, context := w.float("original_max_position_embeddings"), w.float("max_position_embeddings")
	if original == 0 {
		original = s.Original
	}
	if original == 0 {
		original = context
	}
	narrow := func(x []float64) []float32 {
		out := make([]float32, len(x))
		for i, v := range x {
			out[i] = float32(v)
		}
		return out
	}
	factor := 1.0
	if context > original {
		factor = math.Sqrt(1 + math.Log(context/original)/math.Log(original))
	}
	if s.AttentionFactor != nil {
		factor = *s.AttentionFactor
	}
	w.set("rope.scaling.original_context_length", uint32(original))
	w.set("rope.scaling.type", "longrope")
	w.set("rope.scaling.attn_factor", float32(factor))
	w.more = append(w.more, GGUFExtra{ropeFactorsLong, narrow(s.LongF)}, GGUFExtra{ropeFactorsShort, narrow(s.Short)})
	if w.arch != "phi3" && w.arch != "llama" {
		w.err = errors.Join(w.err, fmt.Errorf("llama.cpp's %s reads no factors of rotary frequencies (longrope)", w.arch))
	}
}
