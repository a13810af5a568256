package pipelines

import (
	"fmt"

	"github.com/adaptflow/adaptflow/model"
	core "github.com/adaptflow/adaptflow/train"
)

// Quantize writes the model at ref to the folder to with the projections of its blocks as bitsandbytes' 4-bit codes (quantType nf4 or fp4,
// double for double quantisation), a checkpoint that transformers loads.
func Quantize(ref, to, quantType string, double bool, say func(format string, a ...any)) error {
	dir, err := ResolveModel(ref, say)
	if err != nil {
		return err
	}
	m, err := core.Base(dir, "float32")
	if err != nil {
		return err
	}
	if err := m.SaveQuantized(to, model.Quantization{Type: quantType, Double: double}); err != nil {
		return fmt.Errorf("quantising %s: %w", dir, err)
	}
	return nil
}
