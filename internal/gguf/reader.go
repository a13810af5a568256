package gguf

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Bounds of what is read. What files say is refused beyond them before memory is taken; those of llama.cpp's models take about half.
const (
	maxMeta    = 40 << 20 // bytes that the metadata takes in memory
	maxKey     = 1<<16 - 1
	maxKeys    = 1 << 14
	maxTensors = 1 << 16
	maxName    = 63 // of a tensor's name, as in ggml
	maxDims    = 4
	defAlign   = 32
	maxAlign   = 1 << 20
)

const magic = "GGUF"

// Info describes a tensor.
type Info struct {
	Type  ggml.Type
	Shape []int // rows first, the fastest dimension last
	Begin int64 // its first byte in the file
	Size  int64 // bytes
}

// Len is the number of values.
func (i Info) Len() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// File is an open GGUF file. It is safe for concurrent use, and a [safetensors.Source], whose dtypes are the names of package ggml's types.
type File struct {
	// Meta is the metadata.
	Meta Meta

	path    string
	f       *os.File
	infos   map[string]Info
	names   []string // sorted
	order   []string // as in the file
	version uint32
	align   int64
}

var _ safetensors.Source = (*File)(nil)

// Is says whether the file at path begins as a GGUF file does. A file that cannot be read is none.
func Is(path string) bool {
	f, err := storage.OpenFile(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var b [4]byte
	_, err = f.ReadAt(b[:], 0)
	return err == nil && string(b[:]) == magic
}

// Open reads and checks all but the data of the file at path.
func Open(path string) (*File, error) {
	f, err := storage.OpenFile(path)
	if err != nil {
		return nil, err
	}
	g := &File{path: path, f: f, infos: map[string]Info{}}
	if err := g.open(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

func (g *File) open() error {
	st, err := g.f.Stat()
	if err != nil {
		return err
	}
	s := newScanner(g.f, st.Size())
	if head := s.bytes(4, "the magic number"); string(head) != magic {
		return errors.New("it is not a GGUF file: it does not begin with GGUF")
	}
	g.version = s.uint32("the version")
	nTensors, nKeys := s.uint64("the count of tensors"), s.uint64("the count of keys")
	switch {
	case s.err != nil:
		return s.err
	case g.version&0xffff == 0:
		return errors.New("it is big-endian: convert it with llama.cpp's gguf_convert_endian.py")
	case g.version != 2 && g.version != 3:
		return fmt.Errorf("it is of version %d, and 2 and 3 are read: convert it with a newer llama.cpp", g.version)
	case nKeys > maxKeys:
		return fmt.Errorf("it says that it has %d keys of metadata; at most %d are read", nKeys, maxKeys)
	case nTensors > maxTensors:
		return fmt.Errorf("it says that it has %d tensors; at most %d are read", nTensors, maxTensors)
	}
	if err := g.readMeta(s, int(nKeys)); err != nil {
		return err
	}
	if n, ok, err := g.Meta.Int("split.count"); err != nil || ok && n > 1 {
		return errors.Join(err, errors.New("it is a part of a split model: join the parts with llama-gguf-split --merge"))
	}
	a, ok, err := g.Meta.Int("general.alignment")
	if !ok {
		a = defAlign
	}
	if err != nil || a < 1 || a > maxAlign || a&(a-1) != 0 {
		return errors.Join(err, fmt.Errorf("general.alignment is %d, which is not a power of two up to %d", a, maxAlign))
	}
	g.align = int64(a)
	return g.readInfos(s, int(nTensors), st.Size())
}

// readMeta reads n keys with their values.
func (g *File) readMeta(s *scanner, n int) error {
	seen := map[string]bool{}
	for i := range n {
		key := s.string(maxKey, fmt.Sprintf("key %d of the metadata", i))
		if s.err != nil {
			return s.err
		}
		if seen[key] {
			return fmt.Errorf("the key %q is in the metadata twice", key)
		}
		if key == "" || !utf8.ValidString(key) {
			return fmt.Errorf("key %d of the metadata is %q, which is not a name", i, key)
		}
		seen[key] = true
		v := s.value(key)
		if s.err != nil {
			return s.err
		}
		g.Meta = append(g.Meta, KV{key, v})
	}
	return nil
}

// readInfos reads the descriptions of n tensors in a file of size bytes.
func (g *File) readInfos(s *scanner, n int, size int64) error {
	for i := range n {
		name := s.string(maxName, fmt.Sprintf("the name of tensor %d", i))
		if s.err != nil {
			return s.err
		}
		if _, twice := g.infos[name]; twice {
			return fmt.Errorf("tensor %q is there twice", name)
		}
		if name == "" || !utf8.ValidString(name) {
			return fmt.Errorf("tensor %d has the name %q, which is none", i, name)
		}
		info, err := s.info(name)
		if err != nil {
			return err
		}
		g.infos[name] = info
		g.order = append(g.order, name)
	}
	// The data begin at the next multiple of the alignment, and tensors follow each other so.
	base := g.aligned(s.at)
	at := int64(0)
	for _, name := range g.order {
		i := g.infos[name]
		if i.Begin != at {
			return fmt.Errorf("tensor %q lies at byte %d of the data, and the one before it ends at %d", name, i.Begin, at)
		}
		if i.Size > size-base-at {
			return fmt.Errorf("tensor %q takes %d bytes from byte %d on, and the file has %d: it is truncated; download or copy it again",
				name, i.Size, base+at, size)
		}
		at = g.aligned(at + i.Size)
		i.Begin += base
		g.infos[name] = i
	}
	if rest := size - base - at; rest > 0 {
		return fmt.Errorf("%d bytes follow the last tensor: its description is wrong, or something was appended", rest)
	}
	g.names = slices.Clone(g.order)
	sort.Strings(g.names)
	return nil
}

func (g *File) aligned(at int64) int64 { return (at + g.align - 1) / g.align * g.align }

// info reads the description of a tensor after its name. Begin is from the beginning of the data.
func (s *scanner) info(name string) (i Info, err error) {
	nDims := s.uint32("the dimensions of " + name)
	if s.err == nil && (nDims < 1 || nDims > maxDims) {
		return i, fmt.Errorf("tensor %q has %d dimensions, and 1 to %d are possible", name, nDims, maxDims)
	}
	values := int64(1)
	for range nDims {
		d := s.uint64("the dimensions of " + name)
		if s.err == nil && (d < 1 || d > math.MaxInt64/16 || values > math.MaxInt64/16/int64(d)) {
			return i, fmt.Errorf("tensor %q has a dimension of %d, which is impossible", name, d)
		}
		values *= int64(d)
		i.Shape = append(i.Shape, int(d))
	}
	i.Type = ggml.Type(s.uint32("the type of " + name))
	i.Begin = int64(s.uint64("the place of " + name))
	if s.err != nil {
		return i, s.err
	}
	f := ggml.Of(i.Type)
	if f == nil {
		return i, fmt.Errorf("tensor %q is of the ggml type %d, which is unknown; read are %s", name, uint32(i.Type), ggml.Readable())
	}
	if i.Shape[0]%f.Block != 0 {
		return i, fmt.Errorf("tensor %q has rows of %d values, which are not whole blocks of %d as %s has them", name, i.Shape[0],
			f.Block, f.Name)
	}
	slices.Reverse(i.Shape)
	i.Size = values / int64(f.Block) * int64(f.Bytes)
	return i, nil
}

// Path is the file's path.
func (g *File) Path() string { return g.path }

// Version is that of the format: 2 or 3.
func (g *File) Version() int { return int(g.version) }

// Names implements [safetensors.Source].
func (g *File) Names() []string { return g.names }

// Order are the names in the order of the file.
func (g *File) Order() []string { return g.order }

// Tensor describes a tensor.
func (g *File) Tensor(name string) (Info, bool) { i, ok := g.infos[name]; return i, ok }

// Info implements [safetensors.Source]: the dtype is the name of the type in package ggml, such as "F32" or "Q4_K", and the range counts
// from the beginning of the file.
func (g *File) Info(name string) (safetensors.Info, bool) {
	i, ok := g.infos[name]
	if !ok {
		return safetensors.Info{}, false
	}
	return safetensors.Info{DType: i.Type.String(), Shape: i.Shape, Range: [2]int64{i.Begin, i.Begin + i.Size}}, true
}

// Close implements [safetensors.Source].
func (g *File) Close() error { return g.f.Close() }

func (g *File) tensor(name string) (Info, error) {
	i, ok := g.infos[name]
	if !ok {
		return i, fmt.Errorf("%s: no tensor %q", g.path, name)
	}
	return i, nil
}

// Float32 implements [safetensors.Source].
func (g *File) Float32(name string) ([]float32, error) {
	i, err := g.tensor(name)
	if err != nil {
		return nil, err
	}
	out := make([]float32, i.Len())
	return out, g.ReadFloat32(name, out, 0)
}

// readValues is how many values ReadFloat32 converts at a time, a whole number of blocks of every type.
const readValues = 1 << 15

// ReadFloat32 implements [safetensors.Source]: values of blocks are those that ggml's dequantisation gives.
func (g *File) ReadFloat32(name string, dst []float32, at int) error {
	i, err := g.tensor(name)
	if err != nil {
		return err
	}
	f := ggml.Of(i.Type)
	switch {
	case f.Read == nil:
		return fmt.Errorf("%s: tensor %q is %s, which is not read; read are %s: write the file again in one of them, with "+
			"llama-quantize of the original model", g.path, name, f.Name, ggml.Readable())
	case at < 0 || at+len(dst) > i.Len():
		return fmt.Errorf("%s: tensor %q has %d values; %d from %d on are asked for", g.path, name, i.Len(), len(dst), at)
	}
	raw := make([]byte, f.Size(min((len(dst)/f.Block+2)*f.Block, readValues)))
	var room []float32 // for blocks of which a part is asked for
	for len(dst) > 0 {
		skip := at % f.Block
		n := min(len(dst), readValues-f.Block)
		whole := (skip + n + f.Block - 1) / f.Block * f.Block
		b := raw[:f.Size(whole)]
		if k, err := g.f.ReadAt(b, i.Begin+int64(f.Size(at-skip))); err != nil && (err != io.EOF || k < len(b)) {
			return fmt.Errorf("%s: tensor %q: %w", g.path, name, err)
		}
		if whole == n {
			f.Read(dst[:n], b)
		} else {
			room = slices.Grow(room[:0], whole)[:whole]
			f.Read(room, b)
			copy(dst[:n], room[skip:])
		}
		dst, at = dst[n:], at+n
	}
	return nil
}

// Int64 implements [safetensors.Source]. The models that are read have no tensors of integers.
func (g *File) Int64(name string) ([]int64, error) {
	i, err := g.tensor(name)
	if err != nil {
		return nil, err
	}
	b, err := g.Bytes(name)
	if err != nil {
		return nil, err
	}
	out := make([]int64, i.Len())
	for k := range out {
		switch i.Type.String() {
		case "I8":
			out[k] = int64(int8(b[k]))
		case "I16":
			out[k] = int64(int16(little.Uint16(b[2*k:])))
		case "I32":
			out[k] = int64(int32(little.Uint32(b[4*k:])))
		case "I64":
			out[k] = int64(little.Uint64(b[8*k:]))
		default:
			return nil, fmt.Errorf("%s: tensor %q is %s, not an integer tensor", g.path, name, i.Type)
		}
	}
	return out, nil
}

// Bytes implements [safetensors.Source].
func (g *File) Bytes(name string) ([]byte, error) {
	i, err := g.tensor(name)
	if err != nil {
		return nil, err
	}
	b := make([]byte, i.Size)
	if _, err := g.f.ReadAt(b, i.Begin); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: tensor %q: %w", g.path, name, err)
	}
	return b, nil
}

// Map returns a tensor's bytes as memory that all processes which map it share. It stays when the file is closed, until it is freed.
func (g *File) Map(name string) (*mem.Block, error) {
	i, err := g.tensor(name)
	if err != nil {
		return nil, err
	}
	b, err := mem.Map(g.f, i.Begin, int(i.Size), false)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", g.path, name, err)
	}
	return b, nil
}
