package train

import (
	"math"
	"regexp"

	"github.com/adaptflow/adaptflow/kernels"
)

// lookup names the matrices that are tables or classifiers rather than maps between hidden values: Muon leaves them to AdamW.
var lookup = regexp.MustCompile(`embed|wte|wpe|lm_head|(?:^|\.)score(?:$|\.)`)

// muonMatrix says whether Muon's rule, rather than AdamW's, moves a parameter.
func muonMatrix(name string, rows, cols int) bool {
	return rows > 1 && cols > 1 && !lookup.MatchString(name)
}

func muonStates(o options, name string, rows, cols int) []state {
	if !muonMatrix(name, rows, cols) {
		return adamStates(options{"amsgrad": 0}, name, rows, cols)
	}
	return []state{{"momentum_buffer", rows * cols}}
}

// muon is Muon (Jordan et al. 2024) as torch.optim.Muon: the Nesterov momentum of a hidden matrix's gradient is replaced by the nearest
// semi-orthogonal matrix, found by ns_steps Newton-Schulz iterations of the quintic 3.4445·X - 4.7750·XXᵀX + 2.0315·(XXᵀ)²X, with decoupled
// weight decay. The step is scaled by 0.2·sqrt(max(rows, cols)) (Moonlight; torch's adjust_lr_fn "match_rms_adamw"), so that one learning
// rate serves these matrices and, by AdamW, embeddings, heads, norms and biases. torch iterates in bfloat16, this in float32.
//
// adamw_lr_ratio is the rate of what AdamW moves over learning_rate, as Muon's recipes give AdamW a rate of its own. Adam divides each
// gradient by its own size, so that the rows of a tied embedding whose tokens the text never has move down as fast as the others move at
// all: a text that continues pretraining without them wants a ratio of 0.1 or less.
func muon(u *update) {
	if !muonMatrix(u.name, u.rows, u.cols) {
		u.lr *= u.o["adamw_lr_ratio"]
		adamW(u)
		return
	}
	mu, m := float32(u.o["momentum"]), u.state[0]
	x := make([]float32, len(u.g))
	for i, g := range u.g {
		m[i] = float32(m[i]*mu) + float32(float32(1-mu)*g)
		x[i] = float32(m[i]*mu) + float32(float32(1-mu)*g)
	}
	orthogonalize(x, u.rows, u.cols, int(u.o["ns_steps"]))
	keep, size := float32(1-u.lr*u.decay), float32(u.lr*0.2*math.Sqrt(float64(max(u.rows, u.cols))))
	for i, v := range x {
		u.p[i] = float32(u.p[i]*keep) - float32(size*v)
	}
}

// orthogonalize replaces x [rows, cols] by U·Vᵀ of its singular value decomposition, approximately: singular values end between about 0.7
// and 1.2.
func orthogonalize(x []float32, rows, cols, steps int) {
	norm := float32(math.Sqrt(kernels.SumSquares(x)))
	kernels.Scale(nil, 1/max(norm, 1e-7), x)
	// gram is that of the shorter side: X·Xᵀ, or Xᵀ·X where there are more rows than columns.
	n := min(rows, cols)
	gram, poly, next := make([]float32, n*n), make([]float32, n*n), make([]float32, len(x))
	for range steps {
		if rows <= cols {
			kernels.Gemm(nil, n, n, cols, 1, x, cols, 1, x, 1, cols, 0, gram, n)
		} else {
			kernels.Gemm(nil, n, n, rows, 1, x, 1, cols, x, cols, 1, 0, gram, n)
		}
		for i, g := range gram {
			poly[i] = -4.7750 * g
		}
		kernels.Gemm(nil, n, n, n, 2.0315, gram, n, 1, gram, n, 1, 1, poly, n)
		for i, v := range x {
			next[i] = 3.4445 * v
		}
		if rows <= cols {
			kernels.Gemm(nil, rows, cols, n, 1, poly, n, 1, x, cols, 1, 1, next, cols)
		} else {
			kernels.Gemm(nil, rows, cols, n, 1, x, cols, 1, poly, n, 1, 1, next, cols)
		}
		copy(x, next)
	}
}
