package peft

import (
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// blockRotation is the map y = x·P·diag(R_1, …, R_n)·Pᵀ of rows of n·b values: each of n blocks of b columns times its own matrix [b, b],
// or all times one where shared, after the columns are put in another order.
type blockRotation struct {
	n, b   int
	shared bool
	order  []int // column i goes to order[i]; nil leaves them
	at     int   // the parameter
	// make writes the matrices [n, b, b] (one where shared) from the parameter, back adds the parameter's gradient to dp for theirs.
	make func(pl *pool.Pool, p, r []float32)
	back func(pl *pool.Pool, dp, p, dr []float32)
	// dropout is the multiplicative dropout of OFT: in a training step, the share dropout of the blocks is the identity.
	dropout Float
	name    string // of the site; keys the dropout
}

// blockRows is how many rows are put in order at a time.
const blockRows = 256

func (k *blockRotation) d() int { return k.n * k.b }

// blocks is how many matrices there are.
func (k *blockRotation) blocks() int {
	if k.shared {
		return 1
	}
	return k.n
}

func (k *blockRotation) transform() transform {
	f := transform{reads: true, prep: k.blocks() * k.b * k.b, tmp: k.d() * k.b,
		prepare: func(pl *pool.Pool, p [][]float32, r, _ []float32) { k.make(pl, p[k.at], r) },
		finish: func(pl *pool.Pool, p, dp [][]float32, _, dr, _ []float32) {
			if dp[k.at] != nil {
				k.back(pl, dp[k.at], p[k.at], dr)
			}
		},
		forward: func(pl *pool.Pool, n int, x, y []float32, _ [][]float32, r, tmp []float32) {
			k.apply(pl, n, x, y, r, tmp, false)
		},
		backward: func(pl *pool.Pool, n int, x, dy, dx []float32, _, _ [][]float32, r, dr, tmp []float32) {
			k.grad(pl, n, x, dy, dr, tmp)
			if dx != nil {
				k.apply(pl, n, dy, dx, r, tmp, true)
			}
		},
	}
	if k.order != nil {
		f.tmp = max(f.tmp, 2*blockRows*k.d())
	}
	if k.dropout > 0 && !k.shared && k.n > 1 {
		f.stepped = k.drop
	}
	return f
}

// matrix is that of block j.
func (k *blockRotation) matrix(r []float32, j int) []float32 {
	if k.shared {
		j = 0
	}
	return r[j*k.b*k.b : (j+1)*k.b*k.b]
}

// apply writes y = x·P·R·Pᵀ, or adds x·P·Rᵀ·Pᵀ to y: the gradient of the input.
func (k *blockRotation) apply(pl *pool.Pool, n int, x, y, r, tmp []float32, adjoint bool) {
	d, br, bc, beta := k.d(), k.b, 1, float32(0)
	if adjoint {
		br, bc, beta = 1, k.b, 1
	}
	product := func(n int, x, y []float32, beta float32) {
		pl.Run(k.n, func(j int) {
			kernels.Gemm(nil, n, k.b, k.b, 1, x[j*k.b:], d, 1, k.matrix(r, j), br, bc, beta, y[j*k.b:], d)
		})
	}
	if n == 0 {
		return
	}
	if k.order == nil {
		product(n, x, y, beta)
		return
	}
	u, v := tmp[:blockRows*d], tmp[blockRows*d:2*blockRows*d]
	for lo := 0; lo < n; lo += blockRows {
		m := min(blockRows, n-lo)
		k.sort(pl, m, x[lo*d:], u)
		product(m, u, v, 0)
		eachRows(pl, m, func(a, b int) {
			for t := a; t < b; t++ {
				yt, vt := y[(lo+t)*d:(lo+t+1)*d], v[t*d:(t+1)*d]
				for i, o := range k.order {
					if adjoint {
						yt[i] += vt[o]
					} else {
						yt[i] = vt[o]
					}
				}
			}
		})
	}
}

// sort writes m rows of x in the order into u.
func (k *blockRotation) sort(pl *pool.Pool, m int, x, u []float32) {
	d := k.d()
	eachRows(pl, m, func(a, b int) {
		for t := a; t < b; t++ {
			ut := u[t*d : (t+1)*d]
			for i, v := range x[t*d : (t+1)*d] {
				ut[k.order[i]] = v
			}
		}
	})
}

// grad adds to dr the gradients of the matrices.
func (k *blockRotation) grad(pl *pool.Pool, n int, x, dy, dr, tmp []float32) {
	d, nn := k.d(), k.b*k.b
	product := func(n int, x, dy []float32) {
		if !k.shared {
			pl.Run(k.n, func(j int) {
				kernels.Gemm(nil, k.b, k.b, n, 1, x[j*k.b:], 1, d, dy[j*k.b:], d, 1, 1, dr[j*nn:], k.b)
			})
			return
		}
		for j := range k.n {
			kernels.Gemm(pl, k.b, k.b, n, 1, x[j*k.b:], 1, d, dy[j*k.b:], d, 1, 1, dr, k.b)
		}
	}
	if n == 0 {
		return
	}
	if k.order == nil {
		product(n, x, dy)
		return
	}
	u, v := tmp[:blockRows*d], tmp[blockRows*d:2*blockRows*d]
	for lo := 0; lo < n; lo += blockRows {
		m := min(blockRows, n-lo)
		k.sort(pl, m, x[lo*d:], u)
		k.sort(pl, m, dy[lo*d:], v)
		product(m, u, v)
	}
}

// drop makes the identity of the chosen blocks, or, back, takes their gradient.
func (k *blockRotation) drop(w *nn.Work, r []float32, back bool) {
	m := int(float64(k.dropout) * float64(k.n))
	if !w.Training || m == 0 {
		return
	}
	key := philox.NewKey(w.Seed^w.Step.Index*0x9E3779B97F4A7C15, "multiplicative_dropout", k.name)
	for _, j := range key.Permutation(k.n)[:m] {
		q := k.matrix(r, j)
		clear(q)
		for i := 0; !back && i < k.b; i++ {
			q[i*k.b+i] = 1
		}
	}
}

// fold replaces each row of w [out, n·b] by w·Mᵀ, where M is the whole map's matrix: the layer that follows the map takes it in.
func (k *blockRotation) fold(p [][]float32, w []float32, rows int) {
	r := make([]float32, k.blocks()*k.b*k.b)
	k.make(nil, p[k.at], r)
	k.mapRows(r, w, rows)
}

// unfold undoes fold: the matrices of the blocks are inverted.
func (k *blockRotation) unfold(p [][]float32, w []float32, rows int) {
	n := k.b * k.b
	r, a, inv := make([]float32, k.blocks()*n), make([]float64, n), make([]float64, n)
	k.make(nil, p[k.at], r)
	for j := range k.blocks() {
		block := r[j*n : (j+1)*n]
		for i, v := range block {
			a[i] = float64(v)
		}
		invert(a, inv, k.b)
		for i, v := range inv {
			block[i] = float32(v)
		}
	}
	k.mapRows(r, w, rows)
}

// mapRows replaces each row of w by w·Mᵀ, where M has the blocks r.
func (k *blockRotation) mapRows(r, w []float32, rows int) {
	y := make([]float32, len(w))
	k.apply(nil, rows, w, y, r, make([]float32, 2*blockRows*k.d()), true)
	copy(w, y)
}
