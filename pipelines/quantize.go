package pipelines

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	core "github.com/adaptflow/adaptflow/train"
)

// QuantizationTypes are the types that Quantize knows.
var QuantizationTypes = model.QuantizationTypes

// Quantize writes the model at ref to the folder to with the projections of its blocks as bitsandbytes' codes (quantType nf4, fp4 or int8,
// double for double quantisation of the 4-bit ones), a checkpoint that transformers loads.
func Quantize(ref, to, quantType string, double bool, say func(format string, a ...any)) error {
	dir, err := ResolveModel(ref, say)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(to, "config.json")); err == nil {
		return fmt.Errorf("%w: %s already holds a model", storage.ErrInUse, to)
	}
	m, err := core.Base(dir, mergeStorage) // of which no weight is read
	if err != nil {
		return err
	}
	if err := m.SaveQuantized(to, model.Quantization{Type: quantType, Double: double}); err != nil {
		return fmt.Errorf("quantising %s: %w", dir, err)
	}
	return nil
}
