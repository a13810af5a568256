package quant

import (
	"fmt"
	"sync"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
)

// reread is a dense weight that is in memory only while it is used: each use reads its rows anew and packs them. It suits a model that is
// passed through once or twice, whose weights together need not fit into memory; its products are those of the weight in memory, to the
// bit.
type reread struct {
	out, in int
	half    bool
	rows    Rows
	mu      sync.Mutex
	users   int
	now     *dense // nil while nobody uses it
}

// NewReread is the weight [out, in] that rows gives. What rows fails with ends the use by a panic of a *[ReadError]: see [CatchRead].
func NewReread(out, in int, half bool, rows Rows) Weight {
	return &reread{out: out, in: in, half: half, rows: rows}
}

// ReadError says that a weight could not be read when it was used.
type ReadError struct{ Err error }

// Error implements error.
func (e *ReadError) Error() string { return fmt.Sprintf("reading a weight: %v", e.Err) }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// CatchRead makes an error of the panic of a weight that could not be read. It is to be deferred.
func CatchRead(err *error) {
	switch r := recover().(type) {
	case nil:
	case *ReadError:
		*err = r
	default:
		panic(r)
	}
}

func (w *reread) Dims() (out, in int)        { return w.out, w.in }
func (w *reread) Tiles() int                 { return 1 }
func (w *reread) TileRange(int) (lo, hi int) { return 0, w.out }
func (w *reread) ScratchLen() int            { return 0 }
func (w *reread) Bytes() int64               { return int64(denseBytes(w.out, w.in, w.half)) }

func (w *reread) Acquire(*pool.Pool, int, []float32) kernels.Panels {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users++; w.users == 1 {
		d := newDense(w.out, w.in, w.half, mem.Alloc(denseBytes(w.out, w.in, w.half)))
		if _, err := fill(denseSink{w.in, d}, w.out, w.in, w.rows); err != nil {
			w.users--
			panic(&ReadError{err})
		}
		w.now = d
	}
	return w.now.panels
}

func (w *reread) Release(int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.users--; w.users == 0 {
		w.now.Free()
		w.now = nil
	}
}

func (w *reread) Dense(dst []float32) {
	w.read(dst[:w.out*w.in], 0, w.out)
}

func (w *reread) Rows(dst []float32, ids []int32) {
	for i, id := range ids {
		w.read(dst[i*w.in:(i+1)*w.in], int(id), int(id)+1)
	}
}

func (w *reread) read(dst []float32, lo, hi int) {
	if err := w.rows(dst, lo, hi); err != nil {
		panic(&ReadError{err})
	}
	if w.half {
		kernels.RoundBF16(nil, dst)
	}
}
