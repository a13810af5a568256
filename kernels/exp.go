package kernels

import "math"

// Constants of the exponential: round(x·log2 e) times ln 2, taken off in two parts, then a polynomial on |r| ≤ ln 2 / 2
// (Cephes expf).
const (
	expHi   = 88.72284
	expLo   = -104
	log2e   = 1.44269504088896341
	ln2Hi   = 0.693359375
	ln2Lo   = -2.12194440e-4
	expP0   = 1.9875691500e-4
	expP1   = 1.3981999507e-3
	expP2   = 8.3334519073e-3
	expP3   = 4.1665795894e-2
	expP4   = 1.6666665459e-1
	expP5   = 5.0000001201e-1
	invRt2  = 0.70710678118654752
	rt2OvPi = 0.79788456080286536 // √(2/π)
	invRt2P = 0.39894228040143268 // 1/√(2π)
	geluC   = 0.044715
)

// erfA and erfB are the numerator (odd powers, highest first) and denominator (even powers) of a rational erf on |x| ≤ 4, and
// tanhA and tanhB those of tanh on |x| ≤ 7.905 (Eigen, XLA).
var (
	erfA = [...]float32{-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
		-2.95459980854025e-03, -1.60960333262415e-02}
	erfB  = [...]float32{-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02}
	tanhA = [...]float32{-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
		6.37261928875436e-04, 4.89352455891786e-03}
	tanhB = [...]float32{1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03}
)

const (
	erfLimit  = 4
	tanhLimit = 7.90531110763549805
)

// exp32 is e^x in float32, within 2 units in the last place; overflow gives +Inf, underflow passes through the subnormals to 0.
func exp32(x float32) float32 {
	switch {
	case x != x:
		return x
	case x > expHi:
		return float32(math.Inf(1))
	case x < expLo:
		return 0
	}
	n := float32(math.RoundToEven(float64(float32(x * log2e))))
	r := x - float32(n*ln2Hi) - float32(n*ln2Lo)
	p := float32(expP0)
	p = float32(p*r) + expP1
	p = float32(p*r) + expP2
	p = float32(p*r) + expP3
	p = float32(p*r) + expP4
	p = float32(p*r) + expP5
	p = float32(p*float32(r*r)) + r + 1
	k := int32(n)
	h := k >> 1
	return p * math.Float32frombits(uint32(h+127)<<23) * math.Float32frombits(uint32(k-h+127)<<23)
}

func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }

func horner(c []float32, x float32) float32 {
	p := c[0]
	for _, v := range c[1:] {
		p = float32(p*x) + v
	}
	return p
}

func clamp32(x, limit float32) float32 {
	if x > limit {
		return limit
	}
	if x < -limit {
		return -limit
	}
	return x
}

func erf32(x float32) float32 {
	x = clamp32(x, erfLimit)
	x2 := x * x
	return x * horner(erfA[:], x2) / horner(erfB[:], x2)
}

func tanh32(x float32) float32 {
	x = clamp32(x, tanhLimit)
	x2 := x * x
	return x * horner(tanhA[:], x2) / horner(tanhB[:], x2)
}
