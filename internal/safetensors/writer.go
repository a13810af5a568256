package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"sort"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// Tensor is a tensor to write: float32 values stored as DType F32, F16 or BF16, or raw bytes of any dtype.
type Tensor struct {
	Name  string
	DType string
	Shape []int
	Data  []float32 // the values, when Raw is nil
	Raw   []byte    // little-endian
	// Load, where not nil, gives the tensor with its values when its turn to be written comes, so that not all need be in memory at once.
	Load func() (Tensor, error)
}

// Copy is a tensor of src as it is stored, read when it is written.
func Copy(src Source, name string) Tensor {
	info, _ := src.Info(name)
	t := Tensor{Name: name, DType: info.DType, Shape: info.Shape}
	t.Load = func() (Tensor, error) {
		var err error
		t := t
		t.Raw, err = src.Bytes(name)
		return t, err
	}
	return t
}

// fits says whether the tensor's values are as many as its shape asks for.
func (t *Tensor) fits() bool {
	n := Info{Shape: t.Shape}.Len()
	return t.Raw == nil && len(t.Data) == n || t.Raw != nil && len(t.Raw) == n*dtypeSize[t.DType]
}

// F32 is a float32 tensor.
func F32(name string, data []float32, shape ...int) Tensor {
	return Tensor{Name: name, DType: "F32", Shape: shape, Data: data}
}

// Write writes the tensors to path, by a temporary name, one after another: those with a Load are in memory only meanwhile. The order is
// that of the reference implementation: wider dtypes first, then by name; so the bytes depend on the tensors and the metadata alone.
func Write(path string, tensors []Tensor, metadata map[string]string) error {
	return write(path, tensors, metadata, storage.Create)
}

// WriteShared is Write of a file that others may read where the umask lets them: see [storage.MkdirShared].
func WriteShared(path string, tensors []Tensor, metadata map[string]string) error {
	return write(path, tensors, metadata, storage.CreateShared)
}

// WriteUnsynced is Write that does not wait for the disk: see [storage.File.Unsynced].
func WriteUnsynced(path string, tensors []Tensor, metadata map[string]string) error {
	return write(path, tensors, metadata, func(path string) (*storage.File, error) {
		f, err := storage.Create(path)
		if err == nil {
			f.Unsynced()
		}
		return f, err
	})
}

// layout gives the file's header, padded, and the tensors in the order in which they are written.
func layout(path string, tensors []Tensor, metadata map[string]string) (head []byte, ts []Tensor, data int64, err error) {
	ts = append([]Tensor(nil), tensors...)
	sort.SliceStable(ts, func(i, j int) bool {
		a, b := dtypeSize[ts[i].DType], dtypeSize[ts[j].DType]
		if a != b {
			return a > b
		}
		return ts[i].Name < ts[j].Name
	})
	head = []byte{'{'}
	if metadata != nil {
		m, err := json.Marshal(metadata)
		if err != nil {
			return nil, nil, 0, err
		}
		head = append(append(head, `"__metadata__":`...), m...)
	}
	for i, t := range ts {
		info := Info{DType: t.DType, Shape: t.Shape}
		if info.Shape == nil {
			info.Shape = []int{}
		}
		if dtypeSize[t.DType] == 0 {
			return nil, nil, 0, fmt.Errorf("%s: tensor %q: unknown dtype %q", path, t.Name, t.DType)
		}
		if i > 0 && ts[i-1].Name == t.Name {
			return nil, nil, 0, fmt.Errorf("%s: tensor %q twice", path, t.Name)
		}
		size := int64(info.Len()) * int64(dtypeSize[t.DType])
		info.Range = [2]int64{data, data + size}
		data += size
		name, _ := json.Marshal(t.Name)
		body, _ := json.Marshal(info)
		if len(head) > 1 {
			head = append(head, ',')
		}
		head = append(append(append(head, name...), ':'), body...)
	}
	head = append(head, '}')
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	return head, ts, data, nil
}

// Size is the length in bytes of the file that Write would make of the tensors and the metadata. Their values are not looked at.
func Size(tensors []Tensor, metadata map[string]string) (int64, error) {
	head, _, data, err := layout("a file to be", tensors, metadata)
	return 8 + int64(len(head)) + data, err
}

func write(path string, tensors []Tensor, metadata map[string]string, create func(string) (*storage.File, error)) error {
	for i := range tensors {
		if t := &tensors[i]; t.Load == nil && !t.fits() {
			return fmt.Errorf("%s: tensor %q: %d values or %d bytes do not fit %s of shape %v", path, t.Name, len(t.Data),
				len(t.Raw), t.DType, t.Shape)
		}
	}
	head, ts, _, err := layout(path, tensors, metadata)
	if err != nil {
		return err
	}
	f, err := create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(head)))
	w.Write(n[:])
	w.Write(head)
	for _, t := range ts {
		if t.Load != nil {
			full, err := t.Load()
			if err != nil {
				return fmt.Errorf("%s: tensor %q: %w", path, t.Name, err)
			}
			full.Name, full.DType, full.Shape = t.Name, t.DType, t.Shape
			if t = full; !t.fits() {
				return fmt.Errorf("%s: tensor %q: %d values or %d bytes do not fit %s of shape %v", path, t.Name, len(t.Data),
					len(t.Raw), t.DType, t.Shape)
			}
		}
		if err := t.write(w); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", path, t.Name, err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Commit()
}

// Encode gives values as they are stored in a dtype: F32, F16 or BF16.
func Encode(dtype string, x []float32) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(x) * dtypeSize[dtype])
	w := bufio.NewWriter(&b)
	t := Tensor{DType: dtype, Data: x}
	if err := t.write(w); err != nil {
		return nil, err
	}
	err := w.Flush()
	return b.Bytes(), err
}

// write writes the tensor's values.
func (t *Tensor) write(w *bufio.Writer) error {
	if t.Raw != nil {
		_, err := w.Write(t.Raw)
		return err
	}
	var n [4]byte
	for _, v := range t.Data {
		switch t.DType {
		case "F32":
			binary.LittleEndian.PutUint32(n[:], math.Float32bits(v))
			w.Write(n[:4])
		case "BF16":
			binary.LittleEndian.PutUint16(n[:], ToBF16(v))
			w.Write(n[:2])
		case "F16":
			binary.LittleEndian.PutUint16(n[:], ToF16(v))
			w.Write(n[:2])
		default:
			return fmt.Errorf("float32 values cannot be written as %s", t.DType)
		}
	}
	return nil // what failed, Flush returns
}

// ToBF16 rounds to the nearest bfloat16, ties to even.
func ToBF16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// ToF16 rounds to the nearest IEEE half, ties to even; what is too large becomes infinite.
func ToF16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b >> 16 & 0x8000)
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00
	case b >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case b < 0x38800000: // subnormal: the addition rounds the bits that do not fit
		f := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(f)-0x3f000000)
	}
	return sign | uint16((b-0x38000000+0xfff+b>>13&1)>>13)
}

// FromF16 is the float32 value of an IEEE half.
func FromF16(h uint16) float32 {
	sign, mag := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case mag >= 0x7c00: // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | mag&0x3ff<<13)
	case mag < 0x400: // zero or subnormal
		f := float32(mag) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | mag<<13 + 0x38000000)
}
