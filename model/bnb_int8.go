package model

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/quant"
)

// An 8-bit bitsandbytes checkpoint (LLM.int8) has, for a quantised matrix M.weight: the codes [out, in] under that name, the largest
// magnitude of each row M.SCB [out], and M.weight_format, a byte that says how the codes lie: 0, row-major, the only one that bitsandbytes
// still writes. The matrix of a Conv1D lies turned, [out, in].

const (
	scbSuffix    = ".SCB"
	formatSuffix = ".weight_format"
)

// int8Name is the module's name in the file where its matrix is one of LLM.int8, empty where it is not.
func (l *loader) int8Name(module string) string {
	if l.src == nil {
		return ""
	}
	for _, m := range []string{module, strings.TrimPrefix(module, l.prefix)} {
		if l.has(m + scbSuffix) {
			return m
		}
	}
	return ""
}

func (l *loader) readInt8(module string, out, in int) (*quant.Int8, error) {
	name := l.int8Name(module)
	info, ok := l.src.Info(name + ".weight")
	switch {
	case !ok:
		return nil, fmt.Errorf("the weights have no tensor %q, which belongs to %q", name+".weight", name+scbSuffix)
	case info.DType != "I8":
		return nil, fmt.Errorf("tensor %q is %s; the codes that belong to %q are I8", name+".weight", info.DType, name+scbSuffix)
	case !slices.Equal(info.Shape, []int{out, in}):
		return nil, fmt.Errorf("tensor %q has shape %v, but config.json calls for %v", name+".weight", info.Shape, []int{out, in})
	}
	if s, _ := l.src.Info(name + scbSuffix); s.Len() != out {
		return nil, fmt.Errorf("tensor %q has %d values; a matrix %v has %d rows", name+scbSuffix, s.Len(), info.Shape, out)
	}
	raw, err := l.src.Bytes(name + ".weight")
	if err != nil {
		return nil, err
	}
	q := &quant.Int8{Out: out, In: in, Codes: make([]int8, out*in)}
	for i, b := range raw {
		q.Codes[i] = int8(b)
	}
	if q.Absmax, err = l.src.Float32(name + scbSuffix); err != nil {
		return nil, err
	}
	if err := finite(name+scbSuffix, 0, q.Absmax); err != nil {
		return nil, err
	}
	if l.has(name + formatSuffix) {
		f, err := l.src.Int64(name + formatSuffix)
		if err != nil {
			return nil, err
		}
		if len(f) != 1 || f[0] != 0 {
			return nil, fmt.Errorf("tensor %q is %v: the codes lie in an order of old versions of bitsandbytes; load and save the model "+
				"with a new one", name+formatSuffix, f)
		}
		l.used[name+formatSuffix] = true
	}
	l.used[name+".weight"], l.used[name+scbSuffix] = true, true
	l.stored[module+".weight"] = Stored{Name: name + ".weight", Shape: []int{out, in}, DType: "I8"}
	return q, nil
}

// int8Tensors are the tensors of a matrix of LLM.int8 in a checkpoint. name is that of the matrix, M.weight; q has the scales, and the
// codes are made of what read returns.
func int8Tensors(name string, q *quant.Int8, read func() ([]float32, error)) []safetensors.Tensor {
	module := strings.TrimSuffix(name, ".weight")
	codes := safetensors.Tensor{Name: name, DType: "I8", Shape: []int{q.Out, q.In}}
	codes.Load = func() (safetensors.Tensor, error) {
		x, err := read()
		if err != nil {
			return codes, err
		}
		t := codes
		t.Raw = make([]byte, q.Out*q.In)
		for i, c := range quant.QuantizeInt8(x, q.Out, q.In).Codes {
			t.Raw[i] = byte(c)
		}
		return t, nil
	}
	return []safetensors.Tensor{codes, safetensors.F32(module+scbSuffix, q.Absmax, q.Out),
		{Name: module + formatSuffix, DType: "U8", Shape: []int{}, Raw: []byte{0}}}
}
