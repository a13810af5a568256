package quant

import (
	"fmt"
	"math"
	"sort"
)

// Code4 is a code of 4 bits: the values of its sixteen codes, in [-1, 1].
type Code4 struct {
	Name   string // bitsandbytes' quant_type
	Values [16]float32

	order  [16]uint8   // codes by value; of the two zeros of FP4 the code 0 first
	middle [15]float32 // between the values of consecutive codes in that order
}

func newCode4(name string, values [16]float32) *Code4 {
	c := &Code4{Name: name, Values: values}
	for i := range c.order {
		c.order[i] = uint8(i)
	}
	sort.SliceStable(c.order[:], func(a, b int) bool { return values[c.order[a]] < values[c.order[b]] })
	for i := range c.middle {
		c.middle[i] = (values[c.order[i]] + values[c.order[i+1]]) / 2
	}
	return c
}

// NF4 has the quantiles of a normal distribution (Dettmers et al. 2023, arXiv:2305.14314), FP4 a sign, two bits of exponent and one of
// mantissa.
var (
	NF4 = newCode4("nf4", [16]float32{-1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
		-0.18477343022823334,
		-0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434,
		0.5626170039176941, 0.7229568362236023, 1})
	FP4 = newCode4("fp4", [16]float32{0, 0.0052083334885537624, 0.6666666865348816, 1, 0.3333333432674408, 0.5, 0.1666666716337204, 0.25,
		0, -0.0052083334885537624, -0.6666666865348816, -1, -0.3333333432674408, -0.5, -0.1666666716337204, -0.25})
)

// code is the code of the value nearest to x; half way between two, the lower one's.
func (c *Code4) code(x float32) uint8 {
	lo, hi := 0, len(c.middle)
	for lo < hi {
		if m := (lo + hi) / 2; x > c.middle[m] {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return c.order[lo]
}

// Bits4 is a matrix in bitsandbytes' 4-bit format: blocks of BlockSize values along its rows, one after another, two codes a byte with the
// first in the upper half, and the largest magnitude of each block.
type Bits4 struct {
	Code      *Code4
	Out, In   int
	BlockSize int
	Packed    []uint8   // [⌈Out·In/2⌉]
	Absmax    []float32 // [blocks]; nil where it is quantised itself:
	Nested    *Nested
}

// Nested is the double quantisation of scales: signed 8-bit codes of absmax - Offset in blocks of 256.
type Nested struct {
	Codes  []uint8   // [blocks]
	Absmax []float32 // [⌈blocks/256⌉]
	Offset float32
	Map    *Map8
}

// nestedBlock is the block size of double quantisation.
const nestedBlock = 256

// Quantize4 quantises w [out, in], row-major, as bitsandbytes' quantize_4bit with compress_statistics where double is set.
func Quantize4(c *Code4, w []float32, out, in, blockSize int, double bool) *Bits4 {
	q := Scales4(c, w, out, in, blockSize, double)
	q.Packed = q.Pack(w)
	return q
}

// Pack returns the codes of w, the matrix of which q has the scales.
func (q *Bits4) Pack(w []float32) []uint8 {
	n := q.Out * q.In
	packed := make([]uint8, (n+1)/2)
	for lo := 0; lo < n; lo += q.BlockSize {
		b := w[lo:min(lo+q.BlockSize, n)]
		inverse := float32(0)
		if top := largest(b); top > 0 {
			inverse = 1 / top
		}
		for i, v := range b {
			k := q.Code.code(v * inverse)
			if (lo+i)%2 == 0 {
				k <<= 4
			}
			packed[(lo+i)/2] |= k
		}
	}
	return packed
}

// largest is the largest magnitude of a block.
func largest(b []float32) float32 {
	top := float32(0)
	for _, v := range b {
		top = max(top, float32(math.Abs(float64(v))))
	}
	return top
}

// Scales4 is Quantize4 without the codes.
func Scales4(c *Code4, w []float32, out, in, blockSize int, double bool) *Bits4 {
	n := out * in
	if len(w) < n || blockSize < 2 || blockSize%2 != 0 {
		panic(fmt.Sprintf("quant: %d values for a matrix [%d, %d] in blocks of %d", len(w), out, in, blockSize))
	}
	q := &Bits4{Code: c, Out: out, In: in, BlockSize: blockSize, Absmax: make([]float32, (n+blockSize-1)/blockSize)}
	for lo := 0; lo < n; lo += blockSize {
		q.Absmax[lo/blockSize] = largest(w[lo:min(lo+blockSize, n)])
	}
	if double {
		q.nest()
	}
	return q
}

// nest quantises the scales.
func (q *Bits4) nest() {
	nest := &Nested{Codes: make([]uint8, len(q.Absmax)), Absmax: make([]float32, (len(q.Absmax)+nestedBlock-1)/nestedBlock),
		Offset: torchSum(q.Absmax) / float32(len(q.Absmax)), Map: DynamicMap(true)}
	x := make([]float32, len(q.Absmax))
	for i, v := range q.Absmax {
		x[i] = v - nest.Offset
	}
	nest.Map.Quantize8(nest.Codes, nest.Absmax, x, nestedBlock)
	q.Absmax, q.Nested = nil, nest
}

// scale is the largest magnitude of a block.
func (q *Bits4) scale(block int) float32 {
	if n := q.Nested; n != nil {
		return float32(n.Map[n.Codes[block]]*n.Absmax[block/nestedBlock]) + n.Offset
	}
	return q.Absmax[block]
}

// Value is the value of element i of the matrix, counted along its rows.
func (q *Bits4) Value(i int) float32 {
	k := q.Packed[i/2]
	if i%2 == 0 {
		k >>= 4
	}
	return q.Code.Values[k&15] * q.scale(i/q.BlockSize)
}

// Dense writes the whole matrix, [Out, In] row-major.
func (q *Bits4) Dense(dst []float32) {
	for i := range q.Out * q.In {
		dst[i] = q.Value(i)
	}
}

// Bytes is the memory of the codes and scales.
func (q *Bits4) Bytes() int64 {
	n := int64(len(q.Packed)) + 4*int64(len(q.Absmax))
	if q.Nested != nil {
		n += int64(len(q.Nested.Codes)) + 4*int64(len(q.Nested.Absmax)) + 1024
	}
	return n
}
