package kernels

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// sumChunk is how many rows are added up before their sum joins the total: sums over rows are the sums of fixed chunks, in
// order, so that they depend neither on the number of threads nor on how rows are spread over them.
const sumChunk = 512

// rowBlock is how many rows of d elements one block of a row-wise kernel covers.
func rowBlock(d int) int { return max(1, elemBlock/max(d, 1)) }

func needRows(name string, rows, d int, xs ...[]float32) {
	for _, x := range xs {
		if len(x) < rows*d {
			panic(fmt.Sprintf("kernels: %s: %d elements for %d rows of %d", name, len(x), rows, d))
		}
	}
}

func plusOne(w []float32) []float32 {
	w1 := make([]float32, len(w))
	for i, v := range w {
		w1[i] = v + 1
	}
	return w1
}

// RMSNorm computes y = x·rstd·w over rows of d elements, rstd = 1/√(mean(x²)+eps) (Zhang and Sennrich, 2019). addOne takes
// w+1 for w, as Gemma does. rstd [rows] is what the backward pass needs; it may be nil. y may be x.
func RMSNorm(p *pool.Pool, y, rstd, x, w []float32, rows, d int, eps float32, addOne bool) {
	needRows("RMSNorm", rows, d, y, x)
	needRows("RMSNorm", 1, d, w)
	w = w[:d]
	if addOne {
		w = plusOne(w)
	}
	v := vec()
	blocks(p, rows, rowBlock(d), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			xr := x[r*d:][:d]
			s := 1 / float32(math.Sqrt(float64(v.sumSq(xr)/float32(d)+eps)))
			if rstd != nil {
				rstd[r] = s
			}
			v.norm(y[r*d:][:d], xr, w, s)
		}
	})
}

// RMSNormBackward computes dx += ∂/∂x and dw += ∂/∂w from dy, x and the rstd of RMSNorm; dx and dw may be nil.
func RMSNormBackward(p *pool.Pool, dx, dw, dy, x, w, rstd []float32, rows, d int, addOne bool) {
	needRows("RMSNormBackward", rows, d, dy, x)
	needRows("RMSNormBackward", 1, d, w)
	needRows("RMSNormBackward", rows, 1, rstd)
	w = w[:d]
	if addOne {
		w = plusOne(w)
	}
	v := vec()
	if dx != nil {
		needRows("RMSNormBackward", rows, d, dx)
		blocks(p, rows, rowBlock(d), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				xr, dyr, s := x[r*d:][:d], dy[r*d:][:d], rstd[r]
				c := v.dot3(xr, dyr, w, 0) * (s * s * s / float32(d))
				v.normBack(dx[r*d:][:d], dyr, w, xr, s, 0, c, 0)
			}
		})
	}
	if dw != nil {
		colChunks(p, rows, d, [][]float32{dw}, func(part [][]float32, r, c0, c1 int) {
			v.normDW(part[0], dy[r*d+c0:r*d+c1], x[r*d+c0:r*d+c1], 0, rstd[r])
		})
	}
}

// colChunks adds to each of dst [d] the sum over rows of what add puts in part. A chunk of sumChunk rows starts from zero and
// is added to dst when complete; chunks follow in order. Work is spread over columns: part is a range c0..c1 of them.
func colChunks(p *pool.Pool, rows, d int, dst [][]float32, add func(part [][]float32, r, c0, c1 int)) {
	const cols = 64
	v := vec()
	p.Run((d+cols-1)/cols, func(b int) {
		c0, c1 := b*cols, min(d, (b+1)*cols)
		var buf [4][cols]float32
		part := make([][]float32, len(dst))
		for r0 := 0; r0 < rows; r0 += sumChunk {
			for i := range part {
				part[i] = buf[i][:c1-c0]
				clear(part[i])
			}
			for r := r0; r < min(rows, r0+sumChunk); r++ {
				add(part, r, c0, c1)
			}
			for i := range part {
				v.add(dst[i][c0:c1], dst[i][c0:c1], part[i])
			}
		}
	})
}
