package model

import (
	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/quant"
)

// blockRows are the rows of a matrix in ggml's blocks, in a file's memory, which whoever has them is to free.
type blockRows struct {
	format *ggml.Format
	block  *mem.Block
	at     int     // byte of the first row
	order  []int32 // the row that row o is, counted from there; nil where they are in the same order
}

// rowsOf maps the rows of a tensor as the matrix [out, in] of a linear layer; ok is false where the file has it in no blocks.
func (s *ggufSource) rowsOf(name string) (r blockRows, ok bool, err error) {
	p, err := s.place(name)
	if err != nil {
		return r, false, err
	}
	info, _ := s.f.Tensor(p.tensor)
	r.format = ggml.Of(info.Type)
	if r.format.Read == nil || r.format.Block == 1 || len(p.shape) != 2 || p.add != 0 {
		return r, false, nil
	}
	in := info.Shape[1] // of a Conv1D too, which the file has as other layers
	r.at, r.order = p.from*r.format.Size(in), p.rows
	r.block, err = s.f.Map(p.tensor)
	return r, err == nil, err
}

// keeps says whether the blocks of src can be kept, and how they are reached. An adapter's tensors stand before those of the file.
func keeps(src safetensors.Source) func(name string) (blockRows, bool, error) {
	switch s := src.(type) {
	case *ggufSource:
		return s.rowsOf
	case *overlay:
		rows := keeps(s.Source)
		if rows == nil {
			return nil
		}
		return func(name string) (blockRows, bool, error) {
			if _, ok := s.laid[name]; ok {
				return blockRows{}, false, nil
			}
			return rows(name)
		}
	}
	return nil
}

// kept is the matrix module.weight [out, in] in the blocks that the file has, nil where it has none or they are not to be kept;
// transposed says that the Hugging Face tensor is [in, out].
func (l *loader) kept(module string, out, in int, transposed bool) quant.Weight {
	if !l.store.Keep || l.err != nil {
		return nil
	}
	rows := keeps(l.src)
	if rows == nil {
		l.fail("the blocks of a GGUF file are to be kept (model.gguf keep), and this model is not a GGUF file: leave model.gguf out, or " +
			"store it in fewer bits by model.load_in_4bit")
		return nil
	}
	param, shape := module+".weight", []int{out, in}
	if transposed {
		shape = []int{in, out}
	}
	name, ok := l.locate(param, shape)
	if !ok {
		return nil
	}
	r, ok, err := rows(name)
	if err != nil || !ok {
		if err != nil {
			l.fail("%w", err)
		}
		return nil
	}
	w := quant.NewBlocks(r.format, out, in, r.block, r.at, r.order, l.store.Half())
	l.params += int64(out * in)
	if transposed {
		s := l.stored[param]
		s.Transposed = true
		l.stored[param] = s
	}
	l.keep(w)
	row := make([]float32, in)
	for o := range out {
		if w.Rows(row, []int32{int32(o)}); kernels.NonFinite(row) >= 0 {
			l.fail("tensor %q holds no numbers in row %d: the weights are damaged", name, o)
			return nil
		}
	}
	return w
}
