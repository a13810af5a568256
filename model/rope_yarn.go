package model

import (
	"cmp"
	"fmt"
	"math"
)

// yarn computes the inverse frequencies of YaRN (Peng et al. 2023, arXiv:2309.00071), as transformers does, and the factor of cosines and
// sines: long wavelengths are stretched by the factor, short ones stay, those between are blended, by how often they turn within the
// original positions.
func yarn(c *Config, s ropeScaling, theta float64, dim int) (inv []float32, scale float64, err error) {
	original, fast, slow := cmp.Or(s.Original, float64(c.MaxPositions)), cmp.Or(s.BetaFast, 32), cmp.Or(s.BetaSlow, 1)
	for _, v := range []struct {
		key   string
		value float64
	}{{"factor", s.Factor}, {"original_max_position_embeddings", original}, {"beta_fast", fast}, {"beta_slow", slow}} {
		if !(v.value > 0) || math.IsInf(v.value, 0) {
			return nil, 0, fmt.Errorf("config.json: rope_scaling: %s of yarn is %g; it must be a number above 0", v.key, v.value)
		}
	}
	if !(theta > 1) {
		return nil, 0, fmt.Errorf("config.json: rope_theta is %g; yarn needs one above 1", theta)
	}
	stretch := func(by float64) float64 {
		if s.Factor <= 1 {
			return 1
		}
		return 0.1*by*math.Log(s.Factor) + 1
	}
	switch {
	case s.AttentionFactor != nil:
		scale = *s.AttentionFactor
	case s.MScale != 0 && s.MScaleAll != 0:
		scale = stretch(s.MScale) / stretch(s.MScaleAll)
	default:
		scale = stretch(1)
	}
	if !(scale > 0) || math.IsInf(scale, 0) {
		return nil, 0, fmt.Errorf("config.json: rope_scaling: the attention factor of yarn is %g; it must be above 0", scale)
	}
	// border is the pair, as a real number, that turns so often within the original positions.
	border := func(turns float64) float64 {
		return float64(dim) * math.Log(original/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := border(fast), border(slow)
	if s.Truncate == nil || *s.Truncate {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(dim-1))
	if low == high {
		high += 0.001
	}
	inv = make([]float32, dim/2)
	for i := range inv {
		power := float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
		ramp := (float32(i) - float32(low)) / float32(high-low)
		keep := 1 - min(max(ramp, 0), 1)
		inv[i] = float32(1/(float32(s.Factor)*power)*(1-keep)) + float32(1/power*keep)
	}
	return inv, scale, nil
}

// ntk are the inverse frequencies of dynamic NTK scaling for a document of so many positions, more than the model was trained with.
func ntk(theta, factor float64, trained, length, dim int) []float64 {
	stretch := float32(float32(factor*float64(length))/float32(trained)) - float32(factor-1)
	base := float32(theta) * float32(math.Pow(float64(stretch), float64(dim)/float64(dim-2)))
	inv := make([]float64, dim/2)
	for i := range inv {
		inv[i] = float64(1 / float32(math.Pow(float64(base), float64(float32(2*i)/float32(dim)))))
	}
	return inv
}
