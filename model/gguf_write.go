package model

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// GGUFWeights are the tensors of a GGUF file of a model. Close frees what they are read from.
type GGUFWeights struct {
	Tensors []gguf.Tensor
	src     safetensors.Source
}

// Close closes the model's files.
func (w *GGUFWeights) Close() error { return w.src.Close() }

// GGUFWeights gives the model's weights as a GGUF file has them, to be written one after another. sizes and load say which tensors take the
// place of the folder's, as those of [Model.SaveWith]; kind gives the type in which a tensor of a shape is stored. extra are those of
// [Config.GGUFMeta].
func (m *Model) GGUFWeights(sizes map[string]int, load func(name string) ([]float32, error), extra []GGUFExtra,
	kind func(name string, shape []int) ggml.Type) (*GGUFWeights, error) {
	if _, ok := m.Config.raw["quantization_config"]; ok {
		return nil, fmt.Errorf("%s is quantised with bitsandbytes: write the GGUF file of the model that it was made of", m.dir)
	}
	if m.Config.Task != "CAUSAL_LM" {
		return nil, fmt.Errorf("%s: a classifier has no GGUF file", m.dir)
	}
	src, err := m.source()
	if err != nil {
		return nil, err
	}
	w := &GGUFWeights{src: src}
	fail := func(err error) (*GGUFWeights, error) { src.Close(); return nil, err }
	names := slices.Collect(maps.Keys(m.stored))
	for name := range sizes {
		if _, ok := m.stored[name]; !ok {
			if !isLMHead(name) {
				return fail(fmt.Errorf("%s: no tensor %q to replace", m.dir, name))
			}
			names = append(names, name) // of a head that is the embedding no longer
		}
	}
	head, embedding := m.tiedHead(names)
	if head != "" {
		names = append(names, head)
	}
	layerOf := func(name string) int { _, n, _ := cutParameter(name); return n }
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(layerOf(a)-layerOf(b), cmp.Compare(a, b)) })
	for _, name := range names {
		to, err := m.Config.GGUFTensor(name)
		if err != nil {
			return fail(err)
		}
		from := name
		if name == head {
			from = embedding
		}
		s, ok := m.stored[from]
		if !ok {
			s = Stored{Shape: []int{m.Config.Vocab, sizes[name] / m.Config.Vocab}}
		}
		f := &ggufOut{src: src, name: s.Name, to: to, shape: slices.Clone(s.Shape)}
		if _, ok := sizes[from]; ok {
			f.load = func() ([]float32, error) { return load(from) }
		}
		if to.Transposed && len(f.shape) == 2 {
			slices.Reverse(f.shape)
		} else {
			f.to.Transposed = false
		}
		t := kind(to.Name, f.shape)
		w.Tensors = append(w.Tensors, gguf.Tensor{Name: to.Name, Type: t, Shape: f.shape, Write: func(out io.Writer) error {
			return f.write(out, ggml.Of(t))
		}})
	}
	for _, e := range extra {
		w.Tensors = append(w.Tensors, gguf.Values(e.Name, ggml.F32, e.Values, len(e.Values)))
	}
	return w, nil
}

// tiedHead is the head that a file has as a tensor of its own though it is the embedding, and that, among the tensors that are written
// otherwise; empty where there is none.
func (m *Model) tiedHead(names []string) (head, embedding string) {
	f, err := ggufOf(m.Config.Architecture)
	if err != nil || !f.head || !m.Config.Tied {
		return "", ""
	}
	for _, n := range f.names {
		switch n.gguf {
		case "output":
			head = n.hf + ".weight"
		case "token_embd":
			embedding = n.hf + ".weight"
		}
	}
	if slices.Contains(names, head) { // an adapter has taken it apart
		return "", ""
	}
	return head, embedding
}

// ggufOut writes a tensor of a Hugging Face folder as the file has it.
type ggufOut struct {
	src   safetensors.Source
	name  string // in src
	to    GGUFTensor
	shape []int // in the file
	load  func() ([]float32, error)
}

// ggufPiece is about how many values are converted at a time.
const ggufPiece = 1 << 20

// write converts a few rows at a time. A tensor that is replaced or transposed is in memory as a whole meanwhile.
func (f *ggufOut) write(w io.Writer, form *ggml.Format) error {
	read, err := f.rows()
	if err != nil {
		return err
	}
	rows, width := f.shape[0], 1
	if len(f.shape) == 1 {
		rows, width = 1, f.shape[0]
	} else {
		for _, n := range f.shape[1:] {
			width *= n
		}
	}
	step := max(1, ggufPiece/width)
	x, b := make([]float32, min(step, rows)*width), make([]byte, form.Size(min(step, rows)*width))
	for lo := 0; lo < rows; lo += step {
		n := min(step, rows-lo)
		part := x[:n*width]
		if err := read(part, lo, width); err != nil {
			return err
		}
		if f.to.Add != 0 {
			for i := range part {
				part[i] += f.to.Add
			}
		}
		if err := inRange(f.to.Param, form.Type, part); err != nil {
			return err
		}
		quantise(form, b[:form.Size(len(part))], part, width)
		if _, err := w.Write(b[:form.Size(len(part))]); err != nil {
			return err
		}
	}
	return nil
}

// inRange refuses what half precision, which scales of blocks have, too, would make infinite.
func inRange(name string, t ggml.Type, x []float32) error {
	switch t {
	case ggml.F32, ggml.BF16:
		return nil
	}
	return inFloat16(name, x)
}

// quantise writes rows in a format, each by one of as many goroutines as there are processors: rows have whole blocks.
func quantise(form *ggml.Format, b []byte, x []float32, width int) {
	rows, workers := len(x)/width, runtime.GOMAXPROCS(0)
	per := (rows + workers - 1) / workers
	var wg sync.WaitGroup
	for lo := 0; lo < rows; lo += per {
		hi := min(lo+per, rows)
		wg.Go(func() { form.Write(b[form.Size(lo*width):form.Size(hi*width)], x[lo*width:hi*width]) })
	}
	wg.Wait()
}

// rows gives what reads rows of the file from lo on.
func (f *ggufOut) rows() (func(dst []float32, lo, width int) error, error) {
	if f.load == nil && !f.to.Transposed {
		return f.readRows, nil
	}
	read := f.load
	if read == nil {
		read = func() ([]float32, error) { return f.src.Float32(f.name) }
	}
	x, err := read()
	if err != nil {
		return nil, err
	}
	rows := f.shape[0]
	return func(dst []float32, lo, width int) error {
		if len(f.shape) == 1 {
			for i := range dst {
				dst[i] = x[f.row(i)]
			}
			return nil
		}
		for ; len(dst) > 0; dst, lo = dst[width:], lo+1 {
			from := f.row(lo)
			if !f.to.Transposed {
				copy(dst[:width], x[from*width:])
				continue
			}
			for i := range width {
				dst[i] = x[i*rows+from]
			}
		}
		return nil
	}, nil
}

// row is the row of the folder's tensor that the file has as row r.
func (f *ggufOut) row(r int) int {
	if f.to.Rows == nil {
		return r
	}
	return f.to.Rows(r)
}

func (f *ggufOut) readRows(dst []float32, lo, width int) error {
	switch {
	case f.to.Rows == nil:
		return f.src.ReadFloat32(f.name, dst, lo*width)
	case len(f.shape) == 1:
		x := make([]float32, len(dst))
		if err := f.src.ReadFloat32(f.name, x, 0); err != nil {
			return err
		}
		for i := range dst {
			dst[i] = x[f.row(i)]
		}
		return nil
	}
	for ; len(dst) > 0; dst, lo = dst[width:], lo+1 {
		if err := f.src.ReadFloat32(f.name, dst[:width], f.row(lo)*width); err != nil {
			return err
		}
	}
	return nil
}
