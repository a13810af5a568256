package ggml

import (
	"fmt"
	"strings"
)

// Type is the number of a format in a GGUF file.
type Type uint32

// The types that can be read.
const (
	F32  Type = 0
	F16  Type = 1
	Q4_0 Type = 2
	Q4_1 Type = 3
	Q5_0 Type = 6
	Q5_1 Type = 7
	Q8_0 Type = 8
	Q2_K Type = 10
	Q3_K Type = 11
	Q4_K Type = 12
	Q5_K Type = 13
	Q6_K Type = 14
	F64  Type = 28
	BF16 Type = 30
)

// Format is a row of the table: how a type keeps the values of a row of a matrix.
type Format struct {
	Type  Type
	Name  string
	Block int // values of a block; a row has a whole number of blocks
	Bytes int // of a block
	// Read gives the values of whole blocks: len(dst) is a multiple of Block, and src has their bytes. nil where the type is not read.
	Read func(dst []float32, src []byte)
	// Write quantises whole blocks: len(src) is a multiple of Block, and dst has room for their bytes. nil where the type is not written.
	Write func(dst []byte, src []float32)
}

// Formats is the table of types. Those without Read are known so that a file which has them can be looked at, and named.
var Formats = []*Format{
	&f32, &f16, &bf16, &f64,
	&q4_0, &q4_1, &q5_0, &q5_1, &q8_0,
	&q2K, &q3K, &q4K, &q5K, &q6K,

	{Type: 9, Name: "Q8_1", Block: 32, Bytes: 40},
	{Type: 15, Name: "Q8_K", Block: 256, Bytes: 292},
	{Type: 16, Name: "IQ2_XXS", Block: 256, Bytes: 66},
	{Type: 17, Name: "IQ2_XS", Block: 256, Bytes: 74},
	{Type: 18, Name: "IQ3_XXS", Block: 256, Bytes: 98},
	{Type: 19, Name: "IQ1_S", Block: 256, Bytes: 50},
	{Type: 20, Name: "IQ4_NL", Block: 32, Bytes: 18},
	{Type: 21, Name: "IQ3_S", Block: 256, Bytes: 110},
	{Type: 22, Name: "IQ2_S", Block: 256, Bytes: 82},
	{Type: 23, Name: "IQ4_XS", Block: 256, Bytes: 136},
	{Type: 24, Name: "I8", Block: 1, Bytes: 1},
	{Type: 25, Name: "I16", Block: 1, Bytes: 2},
	{Type: 26, Name: "I32", Block: 1, Bytes: 4},
	{Type: 27, Name: "I64", Block: 1, Bytes: 8},
	{Type: 29, Name: "IQ1_M", Block: 256, Bytes: 56},
	{Type: 34, Name: "TQ1_0", Block: 256, Bytes: 54},
	{Type: 35, Name: "TQ2_0", Block: 256, Bytes: 66},
	{Type: 40, Name: "NVFP4", Block: 64, Bytes: 36},
	{Type: 41, Name: "Q1_0", Block: 128, Bytes: 18},
	{Type: 39, Name: "MXFP4", Block: 32, Bytes: 17},
}

// Of is the row of a type, nil where there is none.
func Of(t Type) *Format {
	for _, f := range Formats {
		if f.Type == t {
			return f
		}
	}
	return nil
}

// Named is the row of a name such as "Q4_K", nil where there is none.
func Named(name string) *Format {
	for _, f := range Formats {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// String is the type's name.
func (t Type) String() string {
	if f := Of(t); f != nil {
		return f.Name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Size is the bytes of n values, of which a whole number of blocks is made.
func (f *Format) Size(n int) int { return n / f.Block * f.Bytes }

// Readable lists the names of the types that can be read, for errors.
func Readable() string {
	var names []string
	for _, f := range Formats {
		if f.Read != nil {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}

// reads makes Read of what reads a block of so many values and bytes.
func reads(values, bytes int, do func(x []float32, b []byte)) func(dst []float32, src []byte) {
	return func(dst []float32, src []byte) {
		for ; len(dst) > 0; dst, src = dst[values:], src[bytes:] {
			do(dst[:values:values], src[:bytes:bytes])
		}
	}
}

// writes makes Write of what writes a block of so many values and bytes.
func writes(values, bytes int, do func(b []byte, x []float32)) func(dst []byte, src []float32) {
	return func(dst []byte, src []float32) {
		for ; len(src) > 0; dst, src = dst[bytes:], src[values:] {
			do(dst[:bytes:bytes], src[:values:values])
		}
	}
}
