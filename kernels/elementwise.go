package kernels

import (
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// Add computes y = a + b. y may be a or b.
func Add(p *pool.Pool, y, a, b []float32) {
	sameLen("Add", len(y), a, b)
	v := vec()
	blocks(p, len(y), elemBlock, func(lo, hi int) { v.add(y[lo:hi], a[lo:hi], b[lo:hi]) })
}

// AddTo computes y += x.
func AddTo(p *pool.Pool, y, x []float32) { Add(p, y, y, x) }

// Axpy computes y += alpha·x.
func Axpy(p *pool.Pool, alpha float32, x, y []float32) {
	sameLen("Axpy", len(y), x)
	v := vec()
	blocks(p, len(y), elemBlock, func(lo, hi int) { v.axpy(alpha, x[lo:hi], y[lo:hi]) })
}

// Scale computes x *= alpha.
func Scale(p *pool.Pool, alpha float32, x []float32) {
	v := vec()
	blocks(p, len(x), elemBlock, func(lo, hi int) { v.scale(alpha, x[lo:hi]) })
}

// Dot is Σ x·y, added up in float64 in an order that depends on the length alone.
func Dot(x, y []float32) float64 {
	sameLen("Dot", len(x), y)
	return vec().dot64(x, y)
}

// SumSquares is Σ x², added up in float64 in an order that depends on the length alone.
func SumSquares(x []float32) float64 { return vec().dot64(x, x) }

// AddBias adds bias [d] to each of the rows of y [rows, d].
func AddBias(p *pool.Pool, y []float32, rows, d int, bias []float32) {
	needRows("AddBias", rows, d, y)
	needRows("AddBias", 1, d, bias)
	v := vec()
	blocks(p, rows, rowBlock(d), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			v.add(y[r*d:][:d], y[r*d:][:d], bias[:d])
		}
	})
}

// ColSum adds to db [d] the sum of the rows of dy [rows, d], in fixed chunks of 512 rows in order.
func ColSum(p *pool.Pool, db, dy []float32, rows, d int) {
	needRows("ColSum", rows, d, dy)
	needRows("ColSum", 1, d, db)
	v := vec()
	colChunks(p, rows, d, [][]float32{db}, func(part [][]float32, r, c0, c1 int) {
		v.add(part[0], part[0], dy[r*d+c0:r*d+c1])
	})
}

// BF16ToF32 widens bfloat16 values; exact.
func BF16ToF32(dst []float32, src []uint16) {
	unpackBF16Row(dst[:len(src)], src)
}

// F16ToF32 widens IEEE 754 half-precision values; exact.
func F16ToF32(dst []float32, src []uint16) {
	dst = dst[:len(src)]
	const scale = 0x1p112 // rebias the exponent: 127-15
	for i, h := range src {
		sign, e, m := uint32(h&0x8000)<<16, h>>10&0x1f, uint32(h&0x3ff)
		var f uint32
		switch e {
		case 0x1f:
			f = 0x7f800000 | m<<13
		default: // normal or subnormal: a float32 with the same fields, scaled by a power of two
			f = math.Float32bits(math.Float32frombits(uint32(h&0x7fff)<<13) * scale)
		}
		dst[i] = math.Float32frombits(sign | f)
	}
}
