package infer

import (
	"fmt"

	"github.com/adaptflow/adaptflow/model"
)

// QuantizationTypes are the types that Quantize knows.
var QuantizationTypes = model.QuantizationTypes

// Quantize writes the model in dir to the folder to with the projections of its blocks as bitsandbytes' codes (quantType nf4,
// fp4 or int8, double for double quantisation of the 4-bit ones), a checkpoint that transformers loads.
func Quantize(dir, to, quantType string, double bool) error {
	if err := vacant(to); err != nil {
		return err
	}
	m, err := model.LoadAs(dir, mergeStorage) // of which no weight is read
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.SaveQuantized(to, model.Quantization{Type: quantType, Double: double}); err != nil {
		return fmt.Errorf("quantising %s: %w", dir, err)
	}
	return nil
}
