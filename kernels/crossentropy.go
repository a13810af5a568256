package kernels

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// LogSoftmaxPick computes, for each of the rows of logits (n values, rows ld apart), the log-sum-exp lse and
// logp = logits[target] - lse. A negative target gives logp 0. lse may be nil; so may logp and targets together.
func LogSoftmaxPick(p *pool.Pool, logp, lse []float32, logits []float32, rows, n, ld int, targets []int32) {
	checkLogits("LogSoftmaxPick", logits, rows, n, ld)
	v := vec()
	blocks(p, rows, rowBlock(n), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x := logits[r*ld:][:n]
			m := v.max(x)
			l := m + float32(math.Log(float64(v.expSum(x, 1, m))))
			if lse != nil {
				lse[r] = l
			}
			if logp != nil {
				t := targets[r]
				if int(t) >= n {
					panic(fmt.Sprintf("kernels: LogSoftmaxPick: target %d of %d classes in row %d", t, n, r))
				}
				logp[r] = 0
				if t >= 0 {
					logp[r] = x[t] - l
				}
			}
		}
	})
}

// SoftmaxRows replaces the rows of logits (n values, rows ld apart) by exp(logits - lse). With lse nil it computes it.
func SoftmaxRows(p *pool.Pool, logits []float32, rows, n, ld int, lse []float32) {
	checkLogits("SoftmaxRows", logits, rows, n, ld)
	v := vec()
	blocks(p, rows, rowBlock(n), func(lo, hi int) {
		for r := lo; r < hi; r++ {
			x := logits[r*ld:][:n]
			if lse != nil {
				v.exp(x, 1, lse[r])
				continue
			}
			v.scale(1/v.exp(x, 1, v.max(x)), x)
		}
	})
}

// SoftCap computes x = limit·tanh(x/limit), which bounds logits as Gemma 2 does.
func SoftCap(p *pool.Pool, x []float32, limit float32) {
	v := vec()
	blocks(p, len(x), elemBlock, func(lo, hi int) { v.softcap(x[lo:hi], 1, limit) })
}

// SoftCapBackward computes dx *= 1-(y/limit)², where y is what SoftCap gave: the gradient for its input from that for its output.
func SoftCapBackward(p *pool.Pool, dx, y []float32, limit float32) {
	sameLen("SoftCapBackward", len(dx), y)
	blocks(p, len(dx), elemBlock, func(lo, hi int) { softcapBack(dx[lo:hi], y[lo:hi], limit) })
}

func softcapBack(dx, y []float32, limit float32) {
	r := 1 / limit
	y = y[:len(dx)]
	for i := range dx {
		t := y[i] * r
		dx[i] *= 1 - float32(t*t)
	}
}

func checkLogits(name string, logits []float32, rows, n, ld int) {
	if rows > 0 && (n <= 0 || ld < n || len(logits) < (rows-1)*ld+n) {
		panic(fmt.Sprintf("kernels: %s: %d elements for %d rows of %d, %d apart", name, len(logits), rows, n, ld))
	}
}
