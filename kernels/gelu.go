package kernels

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// Act is an elementwise activation.
type Act uint8

// The activations, with their names in transformers' ACT2FN.
const (
	SiLU        Act = iota // silu, swish: x·σ(x)
	GELU                   // gelu: x·(1+erf(x/√2))/2
	GELUTanh               // gelu_new, gelu_pytorch_tanh, gelu_fast: the tanh form of Hendrycks and Gimpel
	ReLU                   // relu; its derivative at 0 is 0
	ReLUSquared            // relu2
	QuickGELU              // quick_gelu: x·σ(1.702x)
	Tanh                   // tanh
	Sigmoid                // sigmoid
	numActs
)

// String is the activation's name in transformers.
func (a Act) String() string {
	names := [numActs]string{"silu", "gelu", "gelu_new", "relu", "relu2", "quick_gelu", "tanh", "sigmoid"}
	if a < numActs {
		return names[a]
	}
	return fmt.Sprintf("Act(%d)", uint8(a))
}

func actValue(act Act, x float32) float32 {
	switch act {
	case SiLU:
		return x * sigmoid32(x)
	case GELU:
		return x * (float32(0.5*erf32(x*invRt2)) + 0.5)
	case GELUTanh:
		x2 := x * x
		return x * sigmoid32(2*rt2OvPi*x*(float32(geluC*x2)+1))
	case ReLU:
		if x < 0 {
			return 0
		}
		return x
	case ReLUSquared:
		if x < 0 {
			return 0
		}
		return x * x
	case QuickGELU:
		return x * sigmoid32(1.702*x)
	case Tanh:
		return tanh32(x)
	case Sigmoid:
		return sigmoid32(x)
	}
	panic(fmt.Sprintf("kernels: unknown activation %v", act))
}

// actBoth returns act(x) and act'(x).
func actBoth(act Act, x float32) (y, d float32) {
	switch act {
	case SiLU:
		s := sigmoid32(x)
		y = x * s
		return y, s + float32(y*(1-s))
	case GELU:
		c := float32(0.5*erf32(x*invRt2)) + 0.5
		return x * c, c + float32(x*(invRt2P*exp32(-0.5*x*x)))
	case GELUTanh:
		x2 := x * x
		s := sigmoid32(2 * rt2OvPi * x * (float32(geluC*x2) + 1))
		y = x * s
		return y, s + float32(y*(1-s)*(2*rt2OvPi*(float32(3*geluC*x2)+1)))
	case ReLU:
		switch {
		case x > 0:
			return x, 1
		case x <= 0:
			return 0, 0
		}
		return x, x
	case ReLUSquared:
		switch {
		case x > 0:
			return x * x, 2 * x
		case x <= 0:
			return 0, 0
		}
		return x, x
	case QuickGELU:
		s := sigmoid32(1.702 * x)
		y = x * s
		return y, s + float32(y*(1-s)*1.702)
	case Tanh:
		y = tanh32(x)
		return y, 1 - float32(y*y)
	case Sigmoid:
		y = sigmoid32(x)
		return y, y * (1 - y)
	}
	panic(fmt.Sprintf("kernels: unknown activation %v", act))
}

// elemBlock is how many elements one block of an elementwise kernel covers.
const elemBlock = 1 << 14

// blocks runs f over [0, n) cut in pieces of size.
func blocks(p *pool.Pool, n, size int, f func(lo, hi int)) {
	if n <= size {
		if n > 0 {
			f(0, n)
		}
		return
	}
	p.Run((n+size-1)/size, func(i int) { f(i*size, min(n, (i+1)*size)) })
}

func sameLen(name string, n int, xs ...[]float32) {
	for _, x := range xs {
		if len(x) != n {
			panic(fmt.Sprintf("kernels: %s: slices of %d and %d elements", name, n, len(x)))
		}
	}
}

// Activate computes y = act(x). y may be x.
func Activate(p *pool.Pool, act Act, y, x []float32) {
	sameLen("Activate", len(y), x)
	v := vec()
	blocks(p, len(y), elemBlock, func(lo, hi int) { v.act(act, y[lo:hi], x[lo:hi]) })
}

// ActivateBackward computes dx = beta·dx + dy·act'(x), where x is what Activate read. beta is 0 or 1; with 0, dx is not read.
func ActivateBackward(p *pool.Pool, act Act, beta float32, dx, dy, x []float32) {
	add := adds("ActivateBackward", beta)
	sameLen("ActivateBackward", len(dx), dy, x)
	v := vec()
	blocks(p, len(dx), elemBlock, func(lo, hi int) { v.actBack(act, dx[lo:hi], dy[lo:hi], x[lo:hi], add) })
}
