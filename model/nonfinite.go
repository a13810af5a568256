package model

import (
	"fmt"

	"github.com/adaptflow/adaptflow/kernels"
)

// NonFinite looks for the first tensor of a model folder's floating-point weights, by name, that holds NaN or an infinite value, and
// describes it; "" where there is none.
func NonFinite(dir string) (string, error) {
	src, err := OpenWeights(dir)
	if err != nil {
		return "", err
	}
	defer src.Close()
	buf := make([]float32, 1<<20)
	for _, name := range src.Names() {
		info, _ := src.Info(name)
		switch info.DType {
		case "F64", "F32", "F16", "BF16":
		default: // codes of quantised weights
			continue
		}
		n := info.Len()
		for at := 0; at < n; at += len(buf) {
			x := buf[:min(len(buf), n-at)]
			if err := src.ReadFloat32(name, x, at); err != nil {
				return "", err
			}
			if i := kernels.NonFinite(x); i >= 0 {
				return fmt.Sprintf("the tensor %s of %s holds %g (value %d of %d): get the model's files again", name, dir, x[i], at+i, n),
					nil
			}
		}
	}
	return "", nil
}

// NonFinite is [NonFinite] of the model's own folder; "" where it cannot be read any more.
func (m *Model) NonFinite() string {
	if m.dir == "" {
		return ""
	}
	s, err := NonFinite(m.dir)
	if err != nil {
		return ""
	}
	return s
}
