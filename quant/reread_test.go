package quant

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// A weight that is read by each use multiplies, looks up and writes what the weight in memory does, holds no memory between uses, and fails
// with its cause.
func TestReread(t *testing.T) {
	const out, in, m = 100, 30, 3
	r := rand.New(rand.NewPCG(1, 2))
	x, in1, in2 := make([]float32, out*in), make([]float32, m*in), make([]float32, m*out)
	for _, v := range [][]float32{x, in1, in2} {
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
	}
	p := pool.New(2)
	defer p.Close()
	for _, half := range []bool{false, true} {
		kept := NewF32(out, in, x, in, 1)
		if half {
			kept = NewBF16(out, in, x, in, 1)
		}
		var fail error
		w := NewReread(out, in, half, func(dst []float32, lo, hi int) error {
			if fail == nil {
				copy(dst, x[lo*in:hi*in])
			}
			return fail
		})
		use := func(w Weight) (all []float32) {
			y, dx, d, rows := make([]float32, m*out), make([]float32, m*in), make([]float32, out*in), make([]float32, 2*in)
			MulT(p, w, m, in1, 0, y, nil)
			Mul(p, w, m, in2, 0, dx, nil)
			w.Dense(d)
			w.Rows(rows, []int32{99, 3})
			return slices.Concat(y, dx, d, rows)
		}
		if !slices.Equal(use(w), use(kept)) {
			t.Errorf("half %v: other values than the weight in memory", half)
		}
		if w.(*reread).now != nil {
			t.Error("the weight stays in memory")
		}
		fail = errors.New("the disk is gone")
		err := func() (err error) {
			defer CatchRead(&err)
			use(w)
			return nil
		}()
		if err == nil || !strings.Contains(err.Error(), "the disk is gone") {
			t.Errorf("what could not be read: %v", err)
		}
		kept.(interface{ Free() }).Free()
	}
}
