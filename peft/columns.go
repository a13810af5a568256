package peft

import (
	"github.com/adaptflow/adaptflow/internal/pool"
)

// eachRows runs f over blocks of n rows, side by side.
func eachRows(pl *pool.Pool, n int, f func(lo, hi int)) {
	const block = 64
	pl.Run((n+block-1)/block, func(i int) { f(i*block, min((i+1)*block, n)) })
}

// columnSums adds to sum [D] the values f(t, i) of n rows: chunks of 512 rows one after another, columns side by side, so that the result
// is the same for any number of threads.
func columnSums(pl *pool.Pool, sum []float32, n int, f func(t, i int) float32) {
	const cols, rows = 64, 512
	pl.Run((len(sum)+cols-1)/cols, func(k int) {
		lo, hi := k*cols, min((k+1)*cols, len(sum))
		var part [cols]float32
		for r := 0; r < n; r += rows {
			clear(part[:])
			for t := r; t < min(r+rows, n); t++ {
				for i := lo; i < hi; i++ {
					part[i-lo] += f(t, i)
				}
			}
			for i := lo; i < hi; i++ {
				sum[i] += part[i-lo]
			}
		}
	})
}

// columnScale is the map y = (x-c)·s + c, column by column, whose s is the parameter number at [D]. c [D] is what is not scaled, such as
// the bias of the layer that made x; nil means 0.
func columnScale(d, at int, c []float32) transform {
	return transform{
		reads: true,
		forward: func(pl *pool.Pool, n int, x, y []float32, p [][]float32, _, _ []float32) {
			s := p[at]
			eachRows(pl, n, func(lo, hi int) {
				for t := lo; t < hi; t++ {
					xt, yt := x[t*d:(t+1)*d], y[t*d:(t+1)*d]
					if c == nil {
						for i, v := range xt {
							yt[i] = v * s[i]
						}
						continue
					}
					for i, v := range xt {
						yt[i] = float32((v-c[i])*s[i]) + c[i]
					}
				}
			})
		},
		backward: func(pl *pool.Pool, n int, x, dy, dx []float32, p, dp [][]float32, _, _, _ []float32) {
			if dx != nil {
				s := p[at]
				eachRows(pl, n, func(lo, hi int) {
					for t := lo; t < hi; t++ {
						dxt := dx[t*d : (t+1)*d]
						for i, g := range dy[t*d : (t+1)*d] {
							dxt[i] += float32(g * s[i])
						}
					}
				})
			}
			if dp[at] == nil {
				return
			}
			columnSums(pl, dp[at], n, func(t, i int) float32 {
				v := x[t*d+i]
				if c != nil {
					v -= c[i]
				}
				return dy[t*d+i] * v
			})
		},
	}
}
