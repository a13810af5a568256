// Package safetensors reads and writes the safetensors format: an 8-byte little-endian header length, a JSON header that
// gives each tensor's dtype, shape and byte range, then the data. Reading is strict: a header that lies about the file is an
// error that names the file and the tensor.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sort"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// maxHeader bounds the header, as the reference implementation does.
const maxHeader = 100 << 20

// dtypeSize gives the bytes of a value of each dtype that can be read.
var dtypeSize = map[string]int{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
	"U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1}

// Info describes a tensor. Begin and End are its byte range in the data section.
type Info struct {
	DType string   `json:"dtype"`
	Shape []int    `json:"shape"`
	Range [2]int64 `json:"data_offsets"`
}

// Len is the number of values.
func (i Info) Len() int {
	n := 1
	for _, d := range i.Shape {
		n *= d
	}
	return n
}

// Source is a set of named tensors: a file or a folder of shards.
type Source interface {
	// Names returns the names of all tensors, sorted.
	Names() []string
	// Info describes a tensor.
	Info(name string) (Info, bool)
	// Float32 reads a floating-point tensor, converted from its dtype.
	Float32(name string) ([]float32, error)
	// ReadFloat32 reads len(dst) values of a floating-point tensor from value at on, converted from its dtype.
	ReadFloat32(name string, dst []float32, at int) error
	// Int64 reads an integer or boolean tensor.
	Int64(name string) ([]int64, error)
	// Bytes reads a tensor as it is stored.
	Bytes(name string) ([]byte, error)
	// Close releases the files.
	Close() error
}

// File is an open safetensors file. It is safe for concurrent use.
type File struct {
	path  string
	f     *os.File
	data  int64 // where the data section begins
	infos map[string]Info
	meta  map[string]string
	names []string
}

// Open reads and checks the header of the file at path.
func Open(path string) (*File, error) {
	f, err := storage.OpenFile(path)
	if err != nil {
		return nil, err
	}
	s, err := open(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

func open(path string, f *os.File) (*File, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var raw [8]byte
	if _, err := f.ReadAt(raw[:], 0); err != nil {
		return nil, fmt.Errorf("%s: too short for a safetensors file (%d bytes): download or copy it again", path, st.Size())
	}
	n := binary.LittleEndian.Uint64(raw[:])
	if n > maxHeader || int64(n) > st.Size()-8 {
		return nil, fmt.Errorf("%s: the header says it has %d bytes, but the file has %d: it is truncated or no safetensors file",
			path, n, st.Size())
	}
	head := make([]byte, n)
	if _, err := f.ReadAt(head, 8); err != nil {
		return nil, fmt.Errorf("%s: reading the header: %w", path, err)
	}
	s := &File{path: path, f: f, data: 8 + int64(n)}
	if s.infos, s.meta, err = parseHeader(head, st.Size()-s.data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for name := range s.infos {
		s.names = append(s.names, name)
	}
	sort.Strings(s.names)
	return s, nil
}

// objectOf decodes the members of a JSON object. One that occurs twice is an error: which of the two is meant, each reader would decide for
// itself.
func objectOf(head []byte) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(head))
	wrong := func(err error) error { return fmt.Errorf("the header is not JSON: %w", err) }
	if t, err := d.Token(); err != nil {
		return nil, wrong(err)
	} else if t != json.Delim('{') {
		return nil, errors.New("the header is not JSON: an object is wanted")
	}
	out := map[string]json.RawMessage{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, wrong(err)
		}
		name := t.(string) // the decoder takes no other key
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, wrong(err)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("tensor %q is in the header twice: write the file again with one of them", name)
		}
		out[name] = raw
	}
	if _, err := d.Token(); err != nil {
		return nil, wrong(err)
	}
	if rest := bytes.TrimRight(head[d.InputOffset():], " \x00"); len(rest) > 0 {
		return nil, errors.New("the header is not JSON: there is more after its object")
	}
	return out, nil
}

// parseHeader reads a header and checks it against size, the bytes of the data section.
func parseHeader(head []byte, size int64) (map[string]Info, map[string]string, error) {
	entries, err := objectOf(head)
	if err != nil {
		return nil, nil, err
	}
	infos := map[string]Info{}
	var meta map[string]string
	type span struct {
		name       string
		begin, end int64
	}
	var spans []span
	for name, raw := range entries {
		if name == "__metadata__" {
			if err := json.Unmarshal(raw, &meta); err != nil {
				return nil, nil, fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		var i Info
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&i); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		w, ok := dtypeSize[i.DType]
		if !ok {
			return nil, nil, fmt.Errorf("tensor %q: unknown dtype %q", name, i.DType)
		}
		bytes := int64(w)
		for _, n := range i.Shape {
			if n < 0 || n > 0 && bytes > math.MaxInt64/4/int64(n) {
				return nil, nil, fmt.Errorf("tensor %q: impossible shape %v", name, i.Shape)
			}
			bytes *= int64(n)
		}
		if i.Range[0] < 0 || i.Range[1] < i.Range[0] || i.Range[1] > size {
			return nil, nil, fmt.Errorf("tensor %q: the header puts it at bytes %d to %d, but the data has %d: the file is truncated or "+
				"its header is wrong",
				name, i.Range[0], i.Range[1], size)
		}
		if i.Range[1]-i.Range[0] != bytes {
			return nil, nil, fmt.Errorf("tensor %q: %s of shape %v takes %d bytes, but the header gives it %d", name, i.DType, i.Shape,
				bytes, i.Range[1]-i.Range[0])
		}
		infos[name] = i
		spans = append(spans, span{name, i.Range[0], i.Range[1]})
	}
	sort.Slice(spans, func(a, b int) bool {
		if spans[a].begin != spans[b].begin {
			return spans[a].begin < spans[b].begin
		}
		if spans[a].end != spans[b].end {
			return spans[a].end < spans[b].end
		}
		return spans[a].name < spans[b].name
	})
	at := int64(0)
	for _, s := range spans {
		if s.begin != at {
			return nil, nil, fmt.Errorf("tensor %q begins at byte %d, but the one before it ends at %d", s.name, s.begin, at)
		}
		at = s.end
	}
	if at != size {
		return nil, nil, fmt.Errorf("the tensors end at byte %d of %d", at, size)
	}
	return infos, meta, nil
}

// Names implements Source.
func (s *File) Names() []string { return s.names }

// Info implements Source.
func (s *File) Info(name string) (Info, bool) { i, ok := s.infos[name]; return i, ok }

// Metadata is the header's __metadata__, nil when it has none.
func (s *File) Metadata() map[string]string { return s.meta }

// Path is the file's path.
func (s *File) Path() string { return s.path }

// Close implements Source.
func (s *File) Close() error { return s.f.Close() }

// Bytes implements Source.
func (s *File) Bytes(name string) ([]byte, error) {
	i, ok := s.infos[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", s.path, name)
	}
	b := make([]byte, i.Range[1]-i.Range[0])
	if _, err := s.f.ReadAt(b, s.data+i.Range[0]); err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: tensor %q: %w", s.path, name, err)
	}
	return b, nil
}

// Float32 implements Source.
func (s *File) Float32(name string) ([]float32, error) {
	i, ok := s.infos[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", s.path, name)
	}
	out := make([]float32, i.Len())
	return out, s.ReadFloat32(name, out, 0)
}

// readValues is how many values ReadFloat32 converts at a time.
const readValues = 1 << 15

// ReadFloat32 implements Source.
func (s *File) ReadFloat32(name string, dst []float32, at int) error {
	i, ok := s.infos[name]
	switch {
	case !ok:
		return fmt.Errorf("%s: no tensor %q", s.path, name)
	case !floating[i.DType]:
		return fmt.Errorf("%s: tensor %q is %s, not a floating-point tensor", s.path, name, i.DType)
	case at < 0 || at+len(dst) > i.Len():
		return fmt.Errorf("%s: tensor %q has %d values; %d from %d on are asked for", s.path, name, i.Len(), len(dst), at)
	}
	width := dtypeSize[i.DType]
	buf := make([]byte, min(len(dst), readValues)*width)
	for len(dst) > 0 {
		n := min(len(dst), readValues)
		b := buf[:n*width]
		if k, err := s.f.ReadAt(b, s.data+i.Range[0]+int64(at*width)); err != nil && (err != io.EOF || k < len(b)) {
			return fmt.Errorf("%s: tensor %q: %w", s.path, name, err)
		}
		decode(dst[:n], b, i.DType)
		dst, at = dst[n:], at+n
	}
	return nil
}

// floating are the dtypes that can be read as float32.
var floating = map[string]bool{"F64": true, "F32": true, "F16": true, "BF16": true}

// decode converts the values of a floating-point dtype.
func decode(out []float32, b []byte, dtype string) {
	for k := range out {
		switch dtype {
		case "F32":
			out[k] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*k:]))
		case "F64":
			out[k] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b[8*k:])))
		case "F16":
			out[k] = FromF16(binary.LittleEndian.Uint16(b[2*k:]))
		default:
			out[k] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(b[2*k:])) << 16)
		}
	}
}

// Int64 implements Source.
func (s *File) Int64(name string) ([]int64, error) {
	b, err := s.Bytes(name)
	if err != nil {
		return nil, err
	}
	i := s.infos[name]
	out := make([]int64, i.Len())
	for k := range out {
		switch i.DType {
		case "I64", "U64":
			out[k] = int64(binary.LittleEndian.Uint64(b[8*k:]))
		case "I32":
			out[k] = int64(int32(binary.LittleEndian.Uint32(b[4*k:])))
		case "U32":
			out[k] = int64(binary.LittleEndian.Uint32(b[4*k:]))
		case "I16":
			out[k] = int64(int16(binary.LittleEndian.Uint16(b[2*k:])))
		case "U16":
			out[k] = int64(binary.LittleEndian.Uint16(b[2*k:]))
		case "I8":
			out[k] = int64(int8(b[k]))
		case "U8", "BOOL":
			out[k] = int64(b[k])
		default:
			return nil, fmt.Errorf("%s: tensor %q is %s, not an integer tensor", s.path, name, i.DType)
		}
	}
	return out, nil
}

// Map returns a tensor of n bytes as memory that all processes which map it share. It stays when the file is closed, until it is freed.
func (s *File) Map(name string, n int) (*mem.Block, error) {
	i, ok := s.infos[name]
	if !ok {
		return nil, fmt.Errorf("%s: no tensor %q", s.path, name)
	}
	if got := i.Range[1] - i.Range[0]; got != int64(n) {
		return nil, fmt.Errorf("%s: tensor %q has %d bytes, not %d", s.path, name, got, n)
	}
	b, err := mem.Map(s.f, s.data+i.Range[0], n, false)
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", s.path, name, err)
	}
	return b, nil
}
