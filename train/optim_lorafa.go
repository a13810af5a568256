package train

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/adaptflow/adaptflow/kernels"
)

// loraFAStates are AdamW's; what is frozen has none.
func loraFAStates(_ options, name string, rows, cols int) []state {
	return adamStates(options{}, name, rows, cols)
}

// loraFA is LoRA-FA (Zhang et al. 2023, arXiv:2308.03303) as HF PEFT's create_lorafa_optimizer: A [r, in] stays as it starts, so that the
// inputs of adapted layers need not be kept, and the gradient g of B [out, r] becomes g·(A·Aᵀ)⁻¹/scale², with which the step of B·A is the
// nearest to that of full fine-tuning; AdamW as [adamHF] follows. The product is float32; PEFT rounds it to bfloat16 where torch has that.
func loraFA(u *update) {
	r, in := u.cols, len(u.other)/u.cols
	inverse := gramInverse(u.other, r, in)
	g := make([]float32, len(u.g))
	kernels.Gemm(nil, u.rows, r, r, float32(1/(u.factor.Scale*u.factor.Scale)), u.g, r, 1, inverse, r, 1, 0, g, r)
	u.g = g
	adamHF(u)
}

// gramInverse is the pseudo-inverse of A·Aᵀ + 1e-8·I, A [r, in], with torch.linalg.pinv's threshold of float32: eigenvalues of at most
// r·eps times the largest count as 0.
func gramInverse(a []float32, r, in int) []float32 {
	gram := make([]float32, r*r)
	kernels.Gemm(nil, r, r, in, 1, a, in, 1, a, 1, in, 0, gram, r)
	sym := mat.NewSymDense(r, nil)
	for i := range r {
		for j := i; j < r; j++ {
			v := gram[i*r+j]
			if i == j {
				v += 1e-8
			}
			sym.SetSym(i, j, float64(v))
		}
	}
	out := make([]float32, r*r)
	var eigen mat.EigenSym
	if !eigen.Factorize(sym, true) { // only where A is not finite
		for i := range out {
			out[i] = float32(math.NaN())
		}
		return out
	}
	values := eigen.Values(nil) // ascending
	var q mat.Dense
	eigen.VectorsTo(&q)
	least := float64(r) * 0x1p-23 * max(math.Abs(values[0]), math.Abs(values[r-1]))
	for i := range r {
		for j := range r {
			sum := 0.0
			for k, v := range values {
				if math.Abs(v) > least {
					sum += float64(q.At(i, k) * q.At(j, k) / v)
				}
			}
			out[i*r+j] = float32(sum)
		}
	}
	return out
}

// adamHF is AdamW as transformers once had it: eps is added to the root of the second moment before its bias is corrected, and the decay
// follows the step. optim_args eps and correct_bias.
func adamHF(u *update) {
	b1, b2 := u.AdamBeta1, u.AdamBeta2
	rate := u.lr
	if u.o.on("correct_bias") {
		rate *= math.Sqrt(1-math.Pow(b2, float64(u.step))) / (1 - math.Pow(b1, float64(u.step)))
	}
	size, eps, shrink := float32(-rate), float32(u.o["eps"]), float32(-u.lr*u.decay)
	k1, w1, k2, w2 := float32(b1), float32(1-b1), float32(b2), float32(1-b2)
	p, m, v := u.p, u.state[0], u.state[1]
	for i, g := range u.g {
		m[i] = float32(m[i]*k1) + float32(w1*g)
		v[i] = float32(v[i]*k2) + float32(w2*float32(g*g))
		d := float32(math.Sqrt(float64(v[i]))) + eps
		x := p[i] + float32(size*float32(m[i]/d))
		p[i] = x + float32(shrink*x)
	}
}
