package infer

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// A quantised model does not take the place of a model that is there.
func TestQuantizeTwice(t *testing.T) {
	from, to := filepath.Join("..", "model", "testdata", "models", "llama_gqa"), filepath.Join(t.TempDir(), "q")
	if err := Quantize(from, to, "nf4", true); err != nil {
		t.Fatal(err)
	}
	if err := Quantize(from, to, "nf4", true); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("quantised over a model: %v", err)
	}
}
