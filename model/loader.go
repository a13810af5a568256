package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

// loader gives a family its weights by Hugging Face name, from a folder or at random, and notes what was used, so that a
// missing, extra or mis-shaped tensor is an error.
type loader struct {
	src    safetensors.Source // nil for random weights
	store  quant.Spec
	place  quant.Place // of dense matrices, nil for this process's memory
	seed   uint64
	prefix string // names in the file may lack it ("transformer." of GPT-2)
	// threshold is llm_int8_threshold of a checkpoint whose matrices are LLM.int8's.
	threshold float32
	used      map[string]bool
	params    int64
	bytes     int64
	largest   int64 // of the streamed matrices, whose bytes are
	streamed  int64
	err       error
	stored    map[string]Stored
	// weights are the matrices that have been made.
	weights []quant.Weight
}

// Stored says how a weight lies in the model's files.
type Stored struct {
	Name       string // tensor name in the file
	Shape      []int
	DType      string
	Transposed bool // [in, out]: Conv1D of GPT-2
}

func (l *loader) fail(format string, a ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, a...)
	}
}

// tensor reads one tensor of the given shape. module is the name that the rest of the program uses.
func (l *loader) tensor(module string, shape ...int) []float32 {
	read := l.lazily(module, shape...)
	if l.err != nil {
		return nil
	}
	x, err := read()
	if err != nil {
		l.fail("%w", err)
		return nil
	}
	return x
}

// lazily finds a tensor of the given shape, and returns what reads it.
func (l *loader) lazily(module string, shape ...int) (read func() ([]float32, error)) {
	n := mem.Floats(shape...)
	l.params += int64(n)
	l.fits(module, n)
	if l.err != nil {
		return nil
	}
	if l.src == nil {
		l.stored[module] = Stored{Name: module, Shape: shape, DType: "F32"}
		return func() ([]float32, error) {
			x := make([]float32, n)
			switch {
			case strings.HasSuffix(module, ".bias"):
			case len(shape) == 1:
				for i := range x {
					x[i] = 1
				}
			default:
				philox.NewKey(l.seed, "weights", module).FillNormal(x, 0, 0.02)
			}
			return x, nil
		}
	}
	name, ok := l.locate(module, shape)
	if !ok {
		return nil
	}
	return func() ([]float32, error) {
		x, err := l.src.Float32(name)
		if err != nil {
			return nil, err
		}
		return x, finite(name, 0, x)
	}
}

// fits refuses a random tensor that no memory holds; one of a file is as large as the file says.
func (l *loader) fits(name string, n int) {
	if have := mem.Machine(); l.src == nil && l.err == nil && (int64(n) > 1<<42 || have > 0 && int64(n) > have) {
		l.fail("config.json: %s would have %d values, which is more than this machine's memory holds", name, n)
	}
}

// locate finds a tensor of the given shape in the file and notes that it is used.
func (l *loader) locate(module string, shape []int) (name string, ok bool) {
	name = module
	info, ok := l.src.Info(name)
	if !ok && l.prefix != "" {
		name = strings.TrimPrefix(module, l.prefix)
		info, ok = l.src.Info(name)
	}
	if !ok {
		l.fail("the weights have no tensor %q, which config.json calls for", module)
		return "", false
	}
	if !slices.Equal(info.Shape, shape) {
		l.fail("tensor %q has shape %v, but config.json calls for %v", name, info.Shape, shape)
		return "", false
	}
	l.used[name] = true
	l.stored[module] = Stored{Name: name, Shape: shape, DType: info.DType}
	return name, true
}

// stream stores the matrix module.weight [out, in] without ever having all of it in memory as it lies in the file.
func (l *loader) stream(module string, out, in int, store *quant.Storage) quant.Weight {
	param := module + ".weight"
	l.params += int64(out * in)
	l.fits(param, mem.Floats(out, in))
	if l.err != nil {
		return nil
	}
	var rows quant.Rows
	if l.src == nil {
		l.stored[param] = Stored{Name: param, Shape: []int{out, in}, DType: "F32"}
		rows = func(dst []float32, lo, _ int) error {
			philox.NewKey(l.seed, "weights", fmt.Sprintf("%s from row %d", param, lo)).FillNormal(dst, 0, 0.02)
			return nil
		}
	} else {
		name, ok := l.locate(param, []int{out, in})
		if !ok {
			return nil
		}
		rows = func(dst []float32, lo, _ int) error {
			if err := l.src.ReadFloat32(name, dst, lo*in); err != nil {
				return err
			}
			return finite(name, lo*in, dst)
		}
	}
	return l.build(param, out, in, store, rows)
}

// build stores a matrix where the loader has its place.
func (l *loader) build(param string, out, in int, store *quant.Storage, rows quant.Rows) quant.Weight {
	if l.store.Place == quant.Reread && !store.Quantised() {
		w := quant.NewReread(out, in, store.Name == "bfloat16", rows)
		l.largest, l.streamed = max(l.largest, w.Bytes()), l.streamed+w.Bytes()
		return l.keep(w)
	}
	w, err := store.BuildIn(l.place, param, out, in, rows, l.store.Half())
	if err != nil {
		l.fail("%w", err)
		return nil
	}
	if l.store.Place == quant.Streamed && !store.Quantised() {
		l.largest, l.streamed = max(l.largest, w.Bytes()), l.streamed+w.Bytes()
	}
	return l.keep(w)
}

// keep notes a weight that was made.
func (l *loader) keep(w quant.Weight) quant.Weight {
	l.weights = append(l.weights, w)
	l.bytes += w.Bytes()
	return w
}

// finite refuses values that are not numbers. x are the values of the tensor from value at on.
func finite(name string, at int, x []float32) error {
	if i := kernels.NonFinite(x); i >= 0 {
		return fmt.Errorf("tensor %q holds %v at value %d: the weights are damaged", name, x[i], at+i)
	}
	return nil
}

// vector reads a 1-dimensional tensor.
func (l *loader) vector(module string, n int) []float32 {
	x := l.tensor(module, n)
	l.bytes += int64(4 * n)
	return x
}

// matrix reads module.weight as a packed weight [out, in]; transposed says that the file stores [in, out].
func (l *loader) matrix(module string, out, in int, transposed bool) quant.Weight {
	return l.readMatrix(module, out, in, transposed, l.store.Dense)
}

// readMatrix reads module.weight and stores it; transposed says that the file has [in, out], which is read whole.
func (l *loader) readMatrix(module string, out, in int, transposed bool, store *quant.Storage) quant.Weight {
	if w := l.kept(module, out, in, transposed); w != nil {
		return w
	}
	if !transposed {
		return l.stream(module, out, in, store)
	}
	param := module + ".weight"
	var x []float32
	read := l.lazily(param, in, out)
	if l.err != nil {
		return nil
	}
	s := l.stored[param]
	s.Transposed = true
	l.stored[param] = s
	return l.build(param, out, in, store, func(dst []float32, lo, hi int) error {
		if x == nil {
			var err error
			if x, err = read(); err != nil {
				return err
			}
		}
		err := quant.RowsOf(in, x, 1, out)(dst, lo, hi)
		if hi == out {
			x = nil // the rows are asked for in order
		}
		return err
	})
}

// linear is a frozen projection of a family.
type linear struct {
	w       quant.Weight
	bias    []float32
	in, out int
	conv    bool
}

// codes reads a projection that the file holds as codes.
func codes[Q any](l *loader, module string, out, in int, read func(module string, out, in int) (Q, error),
	weight func(Q) quant.Weight) quant.Weight {
	q, err := read(module, out, in)
	if err != nil {
		l.fail("%w", err)
		return nil
	}
	w := weight(q)
	l.params += int64(out * in)
	return l.keep(w)
}

// linear reads a projection.
func (l *loader) linear(module string, out, in int, bias, conv bool) linear {
	p := linear{in: in, out: out, conv: conv}
	switch {
	case l.err == nil && l.stateName(module) != "":
		p.w = codes(l, module, out, in, l.readCodes, func(q *quant.Bits4) quant.Weight { return quant.NewBits4(q, l.store.Half()) })
	case l.err == nil && l.int8Name(module) != "":
		p.w = codes(l, module, out, in, l.readInt8,
			func(q *quant.Int8) quant.Weight { return quant.NewInt8(q, l.threshold, l.store.Half()) })
	default:
		p.w = l.readMatrix(module, out, in, conv, l.store.Linear)
	}
	if bias {
		p.bias = l.vector(module+".bias", out)
	}
	return p
}

// done fails when the file holds a tensor that nothing used. ignore says which may be there without use.
func (l *loader) done(ignore func(name string) bool) error {
	if l.err != nil {
		return l.err
	}
	if l.src == nil {
		return nil
	}
	for _, n := range l.src.Names() {
		if !l.used[n] && !ignore(n) {
			return fmt.Errorf("the weights hold a tensor %q that config.json does not call for: the two do not belong together", n)
		}
	}
	return nil
}
