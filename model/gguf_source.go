package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/internal/safetensors"
)

// GGUFFile is the name of a GGUF file in a model's folder, where it stands for model.safetensors. Beside it the folder has what
// transformers reads: config.json and the tokenizer's files.
const GGUFFile = "model.gguf"

// Weights are the tensors of a model's folder, under the names of Hugging Face.
type Weights interface {
	safetensors.Source
	// Files are the paths of the files, sorted.
	Files() []string
}

// OpenWeights opens the weights of a model's folder: safetensors, or a GGUF file.
func OpenWeights(dir string) (Weights, error) {
	path := filepath.Join(dir, GGUFFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return safetensors.OpenDir(dir)
	}
	s, err := openGGUF(path)
	if errors.Is(err, fs.ErrNotExist) {
		if to, lerr := os.Readlink(path); lerr == nil {
			return nil, fmt.Errorf("%s: the file that it is made of is gone: %w", to, err)
		}
	}
	return s, err
}

// ggufSource is a GGUF file as a Hugging Face folder would have it: names, rows in their order, values of norms, shapes. Values of blocks
// are those that ggml's dequantisation gives; their dtype is F32.
type ggufSource struct {
	f     *gguf.File
	where map[string]*ggufPlace
	names []string
}

// ggufPlace is where a tensor of Hugging Face lies.
type ggufPlace struct {
	tensor string
	shape  []int
	from   int     // its first row in the file's tensor
	rows   []int32 // the row of the file, counted from there, that a row is; nil where they are in the same order
	add    float32
	conv   bool
}

// openGGUF opens a file and finds the place of every tensor. One that the family does not have is an error.
func openGGUF(path string) (*ggufSource, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	s := &ggufSource{f: f, where: map[string]*ggufPlace{}}
	if err := s.find(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func (s *ggufSource) find() error {
	fam, r, err := readerOf(s.f)
	if err != nil {
		return err
	}
	h := r.heads()
	if r.err != nil {
		return r.err
	}
	for _, name := range s.f.Names() {
		info, _ := s.f.Tensor(name)
		module, layer, suffix := cutParameter(name)
		if strings.HasPrefix(module, "rope_") || module == "blk.N.attn_rot_embd" || module == "blk.N.rope_freqs" {
			continue // factors of frequencies, which config.json has
		}
		if n := fam.gguf.find(module, func(n *ggufName) string { return n.gguf }); n != nil && suffix != "" {
			s.put(n, h, layer, suffix, &ggufPlace{tensor: name, shape: info.Shape})
			continue
		}
		if module != "blk.N.attn_qkv" || suffix == "" || !s.split(fam.gguf, h, layer, suffix, name, info.Shape) {
			return fmt.Errorf("tensor %q is none that the architecture %s has here: this variant of it is not supported",
				name, fam.gguf.arch)
		}
	}
	for name := range s.where {
		s.names = append(s.names, name)
	}
	sort.Strings(s.names)
	return nil
}

// put notes the place of a module's parameter.
func (s *ggufSource) put(n *ggufName, h ggufHeads, layer int, suffix string, p *ggufPlace) {
	t := n.tensor(h, layer, suffix)
	p.add, p.conv = t.Add, t.Transposed && len(p.shape) == 2
	p.shape = slices.Clone(p.shape)
	if rows := p.shape[0]; t.Rows != nil {
		p.rows = slices.Repeat([]int32{-1}, rows)
		for r := range rows {
			if to := t.Rows(r); to < rows && h.dim%2 == 0 {
				p.rows[to] = int32(r)
			}
		}
		if slices.Contains(p.rows, -1) { // the shape is not that of the heads: the loader says so
			p.rows = nil
		}
	}
	if p.conv {
		slices.Reverse(p.shape)
	}
	s.where[t.Param] = p
}

// split notes the places of query, key and value that the file has as one tensor.
func (s *ggufSource) split(f *ggufForm, h ggufHeads, layer int, suffix, name string, shape []int) bool {
	found := false
	for i := range f.names {
		n := &f.names[i]
		if n.part == 0 {
			continue
		}
		from, to := h.fused(n.part)
		if to > shape[0] {
			return false
		}
		part := slices.Clone(shape)
		part[0], found = to-from, true
		s.put(n, h, layer, suffix, &ggufPlace{tensor: name, shape: part, from: from})
	}
	return found
}

// Files implements [Weights].
func (s *ggufSource) Files() []string { return []string{s.f.Path()} }

// Names implements [safetensors.Source].
func (s *ggufSource) Names() []string { return s.names }

// Info implements [safetensors.Source].
func (s *ggufSource) Info(name string) (safetensors.Info, bool) {
	p := s.where[name]
	if p == nil {
		return safetensors.Info{}, false
	}
	i, _ := s.f.Info(p.tensor)
	if !floating[i.DType] {
		i.DType = "F32"
	}
	i.Shape = p.shape
	return i, true
}

func (s *ggufSource) place(name string) (*ggufPlace, error) {
	if p := s.where[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("%s: no tensor that is %q", s.f.Path(), name)
}

// Float32 implements [safetensors.Source].
func (s *ggufSource) Float32(name string) ([]float32, error) {
	p, err := s.place(name)
	if err != nil {
		return nil, err
	}
	n := 1
	for _, d := range p.shape {
		n *= d
	}
	x := make([]float32, n)
	if !p.conv {
		return x, s.ReadFloat32(name, x, 0)
	}
	raw, err := s.f.Float32(p.tensor)
	if err != nil {
		return nil, err
	}
	in, out := p.shape[0], p.shape[1]
	for o := range out {
		for i := range in {
			x[i*out+o] = raw[o*in+i]
		}
	}
	return x, nil
}

// ReadFloat32 implements [safetensors.Source].
func (s *ggufSource) ReadFloat32(name string, dst []float32, at int) error {
	p, err := s.place(name)
	if err != nil {
		return err
	}
	if p.conv {
		x, err := s.Float32(name)
		if err != nil {
			return err
		}
		if copied := copy(dst, x[min(at, len(x)):]); copied < len(dst) {
			return fmt.Errorf("%s: %d values from %d on are asked for of %q, which has %d", s.f.Path(), len(dst), at, name, len(x))
		}
		return nil
	}
	width := 1
	for _, d := range p.shape[1:] {
		width *= d
	}
	if at < 0 || at+len(dst) > p.shape[0]*width {
		return fmt.Errorf("%s: %d values from %d on are asked for of %q, which has %d", s.f.Path(), len(dst), at, name, p.shape[0]*width)
	}
	if p.rows == nil {
		err = s.f.ReadFloat32(p.tensor, dst, p.from*width+at)
	} else {
		err = s.byRow(p, dst, at, width)
	}
	if p.add != 0 && err == nil {
		for i := range dst {
			dst[i] -= p.add
		}
	}
	return err
}

// byRow reads values of a tensor whose rows are in another order. A tensor of single values is read whole.
func (s *ggufSource) byRow(p *ggufPlace, dst []float32, at, width int) error {
	if width == 1 {
		x := make([]float32, len(p.rows))
		if err := s.f.ReadFloat32(p.tensor, x, p.from); err != nil {
			return err
		}
		for i := range dst {
			dst[i] = x[p.rows[at+i]]
		}
		return nil
	}
	for len(dst) > 0 {
		row, skip := at/width, at%width
		n := min(len(dst), width-skip)
		if err := s.f.ReadFloat32(p.tensor, dst[:n], (p.from+int(p.rows[row]))*width+skip); err != nil {
			return err
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// Int64 implements [safetensors.Source]: language models have no integers.
func (s *ggufSource) Int64(name string) ([]int64, error) {
	return nil, fmt.Errorf("%s: %q has no integers", s.f.Path(), name)
}

// Bytes implements [safetensors.Source]: in the dtype that Info says.
func (s *ggufSource) Bytes(name string) ([]byte, error) {
	x, err := s.Float32(name)
	if err != nil {
		return nil, err
	}
	i, _ := s.Info(name)
	return safetensors.Encode(i.DType, x)
}

// Close implements [safetensors.Source].
func (s *ggufSource) Close() error { return s.f.Close() }

// GGUFOf is the path of the GGUF file that a model's folder is made of, "" where it has safetensors. A link is followed.
func GGUFOf(dir string) string {
	path := filepath.Join(dir, GGUFFile)
	if to, err := os.Readlink(path); err == nil {
		return to
	}
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
