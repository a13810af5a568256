package model

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/kernels"
)

// maxTable bounds the rotary table; longer contexts than this are not trained here.
const maxTable = 32768

// ropeTable computes the rotary table as transformers' ROPE_INIT_FUNCTIONS do, in float32: the types "default", "linear" and
// "llama3" (Llama 3.1's wavelength-dependent scaling).
func ropeTable(c *Config, dim int, theta float64) (*kernels.RopeTable, error) {
	var scaling struct {
		RopeType string  `json:"rope_type"`
		Type     string  `json:"type"`
		Factor   float64 `json:"factor"`
		Low      float64 `json:"low_freq_factor"`
		High     float64 `json:"high_freq_factor"`
		Original float64 `json:"original_max_position_embeddings"`
		Theta    float64 `json:"rope_theta"`
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if raw, ok := c.raw[key]; ok && string(raw) != "null" {
			if err := json.Unmarshal(raw, &scaling); err != nil {
				return nil, fmt.Errorf("config.json: %s: %w", key, err)
			}
		}
	}
	if scaling.Theta > 0 {
		theta = scaling.Theta
	}
	inv := make([]float32, dim/2)
	for i := range inv {
		inv[i] = 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
	}
	kind := scaling.RopeType
	if kind == "" {
		kind = scaling.Type
	}
	switch kind {
	case "", "default":
	case "linear":
		if scaling.Factor <= 0 {
			return nil, fmt.Errorf("config.json: rope_scaling: factor is %g", scaling.Factor)
		}
		for i := range inv {
			inv[i] /= float32(scaling.Factor)
		}
	case "llama3":
		if scaling.Factor <= 0 || scaling.Low <= 0 || scaling.High <= scaling.Low || scaling.Original <= 0 {
			return nil, fmt.Errorf("config.json: rope_scaling: llama3 needs factor, low_freq_factor < high_freq_factor and original_max_position_embeddings")
		}
		for i, f := range inv {
			wave := float32(2*math.Pi) / f
			switch {
			case float64(wave) > scaling.Original/scaling.Low:
				inv[i] = f / float32(scaling.Factor)
			case float64(wave) >= scaling.Original/scaling.High:
				smooth := (float32(scaling.Original)/wave - float32(scaling.Low)) / float32(scaling.High-scaling.Low)
				inv[i] = float32((1-smooth)*(f/float32(scaling.Factor))) + float32(smooth*f)
			}
		}
	default:
		return nil, fmt.Errorf("config.json: rope_scaling: type %q is not supported (supported: default, linear, llama3)", kind)
	}
	wide := make([]float64, len(inv))
	for i, f := range inv {
		wide[i] = float64(f)
	}
	return kernels.NewRopeTable(wide, min(c.MaxPositions, maxTable), 1), nil
}
