package kernels

import (
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// LayerNorm computes y = (x-mean)·rstd·w + b over rows of d elements, rstd = 1/√(var(x)+eps) with the biased variance
// (Ba, Kiros and Hinton, 2016). mean and rstd [rows] are what the backward pass needs; they may be nil. b may be nil.
// y may be x.
func LayerNorm(p *pool.Pool, y, mean, rstd, x, w, b []float32, rows, d int, eps float32) {
	needRows("LayerNorm", rows, d, y, x)
	needRows("LayerNorm", 1, d, w)
	w = w[:d]
	if b == nil {
		b = make([]float32, d)
	}
	needRows("LayerNorm", 1, d, b)
	b = b[:d]
	v := vec()
	blocks(p, rows, rowBlock(d), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			xr := x[r*d:][:d]
			m := v.sum(xr) / float32(d)
			s := 1 / float32(math.Sqrt(float64(v.sumSqDev(xr, m)/float32(d)+eps)))
			if mean != nil {
				mean[r] = m
			}
			if rstd != nil {
				rstd[r] = s
			}
			v.normB(y[r*d:][:d], xr, w, b, m, s)
		}
	})
}

// LayerNormBackward computes dx += ∂/∂x, dw += ∂/∂w and db += ∂/∂b from dy, x and the mean and rstd of LayerNorm.
// dx, dw and db may be nil.
func LayerNormBackward(p *pool.Pool, dx, dw, db, dy, x, w, mean, rstd []float32, rows, d int) {
	needRows("LayerNormBackward", rows, d, dy, x)
	needRows("LayerNormBackward", 1, d, w)
	needRows("LayerNormBackward", rows, 1, mean, rstd)
	w = w[:d]
	v := vec()
	if dx != nil {
		needRows("LayerNormBackward", rows, d, dx)
		blocks(p, rows, rowBlock(d), func(lo, hi int) {
			for r := lo; r < hi; r++ {
				xr, dyr, m, s := x[r*d:][:d], dy[r*d:][:d], mean[r], rstd[r]
				sw := v.dot(dyr, w)
				sx := v.dot3(xr, dyr, w, m)
				v.normBack(dx[r*d:][:d], dyr, w, xr, s, m, sx*(s*s*s/float32(d)), sw*s/float32(d))
			}
		})
	}
	if dw != nil {
		colChunks(p, rows, d, [][]float32{dw}, func(part [][]float32, r, c0, c1 int) {
			v.normDW(part[0], dy[r*d+c0:r*d+c1], x[r*d+c0:r*d+c1], mean[r], rstd[r])
		})
	}
	if db != nil {
		ColSum(p, db, dy, rows, d)
	}
}
