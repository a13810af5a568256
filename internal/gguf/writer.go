package gguf

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Tensor is a tensor to write.
type Tensor struct {
	Name  string
	Type  ggml.Type
	Shape []int // rows first, the fastest dimension last
	// Write writes the tensor's bytes when its turn comes, so that no more of it than it needs is in memory.
	Write func(w io.Writer) error
}

// Values is a tensor of values in memory, quantised a piece at a time.
func Values(name string, t ggml.Type, x []float32, shape ...int) Tensor {
	return Tensor{Name: name, Type: t, Shape: shape, Write: func(w io.Writer) error { return Encode(w, t, x) }}
}

// Encode writes whole blocks of values as they are in the type t, quantised a piece at a time.
func Encode(w io.Writer, t ggml.Type, x []float32) error {
	f := ggml.Of(t)
	if f == nil || f.Write == nil {
		return fmt.Errorf("%s is not written", t)
	}
	b := make([]byte, f.Size(min(len(x), readValues)))
	for len(x) > 0 {
		n := min(len(x), readValues)
		part := b[:f.Size(n)]
		f.Write(part, x[:n])
		if _, err := w.Write(part); err != nil {
			return err
		}
		x = x[n:]
	}
	return nil
}

// size is the bytes of the tensor, and an error where it cannot be.
func (t *Tensor) size() (int64, error) {
	f := ggml.Of(t.Type)
	switch {
	case f == nil:
		return 0, fmt.Errorf("tensor %q is of the unknown type %d", t.Name, uint32(t.Type))
	case t.Name == "" || len(t.Name) > maxName:
		return 0, fmt.Errorf("the name of tensor %q has %d bytes; 1 to %d are possible", t.Name, len(t.Name), maxName)
	case len(t.Shape) < 1 || len(t.Shape) > maxDims:
		return 0, fmt.Errorf("tensor %q has %d dimensions; 1 to %d are possible", t.Name, len(t.Shape), maxDims)
	case t.Shape[len(t.Shape)-1]%f.Block != 0:
		return 0, fmt.Errorf("tensor %q has rows of %d values, which are not whole blocks of %d as %s has them", t.Name,
			t.Shape[len(t.Shape)-1], f.Block, f.Name)
	}
	return int64(f.Size(Info{Shape: t.Shape}.Len())), nil
}

// head makes what comes before the data, and the sizes of the tensors.
func head(meta Meta, tensors []Tensor) (b []byte, sizes []int64, err error) {
	b = append(b, magic...)
	b = little.AppendUint32(b, 3)
	b = little.AppendUint64(b, uint64(len(tensors)))
	b = little.AppendUint64(b, uint64(len(meta)))
	str := kinds[stringKind].append
	seen := map[string]bool{}
	for _, kv := range meta {
		if seen[kv.Key] {
			return nil, nil, fmt.Errorf("the key %q is there twice", kv.Key)
		}
		seen[kv.Key] = true
		k := slices.IndexFunc(kinds, func(k kind) bool { _, is := k.length(kv.Value); return is })
		if k < 0 {
			return nil, nil, fmt.Errorf("%s: a %T cannot be written", kv.Key, kv.Value)
		}
		b = str(b, kv.Key)
		if n, _ := kinds[k].length(kv.Value); n >= 0 {
			b = little.AppendUint32(b, arrayKind)
			b = little.AppendUint32(b, uint32(k))
			b = little.AppendUint64(b, uint64(n))
		} else {
			b = little.AppendUint32(b, uint32(k))
		}
		b = kinds[k].append(b, kv.Value)
	}
	at, names := int64(0), map[string]bool{}
	for i := range tensors {
		t := &tensors[i]
		if names[t.Name] {
			return nil, nil, fmt.Errorf("tensor %q is there twice", t.Name)
		}
		names[t.Name] = true
		size, err := t.size()
		if err != nil {
			return nil, nil, err
		}
		b = str(b, t.Name)
		b = little.AppendUint32(b, uint32(len(t.Shape)))
		for j := len(t.Shape) - 1; j >= 0; j-- {
			b = little.AppendUint64(b, uint64(t.Shape[j]))
		}
		b = little.AppendUint32(b, uint32(t.Type))
		b = little.AppendUint64(b, uint64(at))
		sizes = append(sizes, size)
		at = padded(at + size)
	}
	return append(b, make([]byte, padded(int64(len(b)))-int64(len(b)))...), sizes, nil
}

func padded(n int64) int64 { return (n + defAlign - 1) / defAlign * defAlign }

// Write writes a file to path, by a temporary name, one tensor after another in the order given. Metadata with another alignment than 32 is
// refused.
func Write(path string, meta Meta, tensors []Tensor) error {
	if v, ok, err := meta.Int("general.alignment"); err != nil || ok && v != defAlign {
		return fmt.Errorf("%s: files are written with an alignment of %d", path, defAlign)
	}
	b, sizes, err := head(meta, tensors)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := storage.CreateShared(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(b)
	for i := range tensors {
		t := &tensors[i]
		c := &counter{w: w}
		if err := t.Write(c); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", path, t.Name, err)
		}
		if c.n != sizes[i] {
			return fmt.Errorf("%s: tensor %q: %d bytes were made of it, and %s of shape %v has %d", path, t.Name, c.n, t.Type, t.Shape,
				sizes[i])
		}
		w.Write(make([]byte, padded(sizes[i])-sizes[i]))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Commit()
}

// counter counts what goes to w.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
