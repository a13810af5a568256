package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/quant"
)

// A bitsandbytes checkpoint has, for a quantised matrix M.weight: the codes under that name, M.weight.absmax, M.weight.quant_map, with
// double quantisation M.weight.nested_absmax and M.weight.nested_quant_map, and M.weight.quant_state.bitsandbytes__nf4 (or __fp4), JSON as
// bytes.

// quantState is that JSON.
type quantState struct {
	QuantType       string  `json:"quant_type"`
	BlockSize       int     `json:"blocksize"`
	DType           string  `json:"dtype"`
	Shape           []int   `json:"shape"`
	NestedBlockSize int     `json:"nested_blocksize,omitempty"`
	NestedDType     string  `json:"nested_dtype,omitempty"`
	NestedOffset    float64 `json:"nested_offset,omitempty"`
}

const stateInfix = ".quant_state.bitsandbytes__"

// stateName is the name of the tensor that describes a quantised matrix, empty where the matrix is not quantised.
func (l *loader) stateName(module string) string {
	if l.src == nil {
		return ""
	}
	for _, c := range []*quant.Code4{quant.NF4, quant.FP4} {
		for _, m := range []string{module, strings.TrimPrefix(module, l.prefix)} {
			if n := m + ".weight" + stateInfix + c.Name; l.has(n) {
				return n
			}
		}
	}
	return ""
}

func (l *loader) has(name string) bool { _, ok := l.src.Info(name); return ok }

func (l *loader) readCodes(module string, out, in int) (*quant.Bits4, error) {
	name := l.stateName(module)
	base := name[:strings.Index(name, stateInfix)]
	raw, err := l.src.Bytes(name)
	if err != nil {
		return nil, err
	}
	var s quantState
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("tensor %q is not a description of a quantised matrix: %w", name, err)
	}
	if !slices.Equal(s.Shape, []int{out, in}) {
		return nil, fmt.Errorf("tensor %q describes a matrix %v, but config.json calls for %v", name, s.Shape, []int{out, in})
	}
	n := out * in
	if s.BlockSize < 32 || s.BlockSize > 4096 || s.BlockSize&(s.BlockSize-1) != 0 {
		return nil, fmt.Errorf("tensor %q has blocksize %d; bitsandbytes' are powers of two from 32 to 4096", name, s.BlockSize)
	}
	q := &quant.Bits4{Out: out, In: in, BlockSize: s.BlockSize}
	switch s.QuantType {
	case quant.NF4.Name:
		q.Code = quant.NF4
	case quant.FP4.Name:
		q.Code = quant.FP4
	default:
		return nil, fmt.Errorf("tensor %q has quant_type %q; there are nf4 and fp4", name, s.QuantType)
	}
	part := func(suffix string, values int) (string, error) {
		info, ok := l.src.Info(base + suffix)
		if !ok {
			return "", fmt.Errorf("the weights have no tensor %q, which belongs to %q", base+suffix, base)
		}
		if info.Len() != values {
			return "", fmt.Errorf("tensor %q has %d values; a matrix %v in blocks of %d has %d", base+suffix, info.Len(), s.Shape,
				s.BlockSize, values)
		}
		l.used[base+suffix] = true
		return base + suffix, nil
	}
	floats := func(suffix string, values int) ([]float32, error) {
		name, err := part(suffix, values)
		if err != nil {
			return nil, err
		}
		x, err := l.src.Float32(name)
		if err != nil {
			return nil, err
		}
		return x, finite(name, 0, x)
	}
	codes, err := part("", (n+1)/2)
	if err != nil {
		return nil, err
	}
	if q.Packed, err = l.src.Bytes(codes); err != nil {
		return nil, err
	}
	book, err := floats(".quant_map", 16)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(book, q.Code.Values[:]) {
		return nil, fmt.Errorf("tensor %q is not the code book of %s", base+".quant_map", s.QuantType)
	}
	blocks := (n + s.BlockSize - 1) / s.BlockSize
	if s.NestedBlockSize == 0 {
		if q.Absmax, err = floats(".absmax", blocks); err != nil {
			return nil, err
		}
	} else {
		if s.NestedBlockSize != 256 {
			return nil, fmt.Errorf("tensor %q has nested_blocksize %d; bitsandbytes' is 256", name, s.NestedBlockSize)
		}
		nest := &quant.Nested{Offset: float32(s.NestedOffset), Map: new(quant.Map8)}
		from, err := part(".absmax", blocks)
		if err != nil {
			return nil, err
		}
		if nest.Codes, err = l.src.Bytes(from); err != nil {
			return nil, err
		}
		if nest.Absmax, err = floats(".nested_absmax", (blocks+255)/256); err != nil {
			return nil, err
		}
		values, err := floats(".nested_quant_map", 256)
		if err != nil {
			return nil, err
		}
		copy(nest.Map[:], values)
		q.Nested = nest
	}
	l.used[name] = true
	l.stored[module+".weight"] = Stored{Name: base, Shape: []int{out, in}, DType: "U8"}
	return q, nil
}
