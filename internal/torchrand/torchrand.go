// Package torchrand repeats the numbers of PyTorch's CPU generator, torch.Generator().manual_seed(seed): the 32-bit Mersenne twister of
// Matsumoto and Nishimura, "Mersenne Twister" (ACM TOMACS 8, 1998), and torch's ways of making floats, normal numbers and permutations of
// its words. Hugging Face PEFT draws frozen projections and positions from it when an adapter is loaded, so that an adapter which does not
// store them needs the same numbers.
package torchrand

import (
	"math"

	"gonum.org/v1/gonum/mathext/prng"
)

// Generator is a stream of numbers.
type Generator struct {
	*prng.MT19937
	spare  float64 // second number of a pair of normal numbers
	spared bool
}

// New starts a generator as manual_seed does, which takes the low 32 bits of the seed.
func New(seed uint64) *Generator {
	g := &Generator{MT19937: prng.NewMT19937()}
	g.Seed(seed)
	return g
}

// Uniform fills x as tensor.uniform_(lo, hi) fills a float32 tensor: 24 bits a number.
func (g *Generator) Uniform(x []float32, lo, hi float64) {
	a, b := float32(lo), float32(hi)
	for i := range x {
		u := float32(g.Uint32()&(1<<24-1)) * (1.0 / (1 << 24))
		x[i] = float32(float64(float64(u)*float64(b-a)) + float64(a)) // one rounding: torch's kernel fuses them
	}
}

// Normal fills x as tensor.normal_(mean, std) fills a contiguous float32 tensor: up to the last place, because torch's vector kernels
// approximate logarithm and cosine.
func (g *Generator) Normal(x []float32, mean, std float64) {
	if len(x) < 16 {
		for i := range x {
			x[i] = float32(g.normal()*std + mean)
		}
		return
	}
	g.Uniform(x, 0, 1)
	for i := 0; i+16 <= len(x); i += 16 {
		normal16(x[i:i+16], mean, std)
	}
	if len(x)%16 != 0 { // torch draws the last sixteen again
		tail := x[len(x)-16:]
		g.Uniform(tail, 0, 1)
		normal16(tail, mean, std)
	}
}

// Normal64 fills x as tensor.normal_(mean, std) fills a contiguous float64 tensor.
func (g *Generator) Normal64(x []float64, mean, std float64) {
	if len(x) < 16 {
		for i := range x {
			x[i] = g.normal()*std + mean
		}
		return
	}
	for i := range x {
		x[i] = g.uniform53()
	}
	fill := func(x []float64) {
		for j := range 8 {
			r, theta := math.Sqrt(-2*math.Log(1-x[j])), 2*math.Pi*x[j+8]
			x[j], x[j+8] = r*math.Cos(theta)*std+mean, r*math.Sin(theta)*std+mean
		}
	}
	for i := 0; i+16 <= len(x); i += 16 {
		fill(x[i : i+16])
	}
	if len(x)%16 != 0 { // the last sixteen are drawn again
		last := x[len(x)-16:]
		for i := range last {
			last[i] = g.uniform53()
		}
		fill(last)
	}
}

// normal16 makes sixteen normal numbers of as many uniform ones (Box-Muller).
func normal16(x []float32, mean, std float64) {
	for j := range 8 {
		r := math.Sqrt(-2 * math.Log(float64(1-x[j])))
		theta := 2 * math.Pi * float64(x[j+8])
		x[j], x[j+8] = float32(r*math.Cos(theta)*std+mean), float32(r*math.Sin(theta)*std+mean)
	}
}

// normal is one number of torch's scalar path, which makes two at a time of 53-bit uniform ones.
func (g *Generator) normal() float64 {
	if g.spared {
		g.spared = false
		return g.spare
	}
	u, v := g.uniform53(), g.uniform53()
	r, theta := math.Sqrt(-2*math.Log1p(-v)), 2*math.Pi*u
	g.spare, g.spared = r*math.Sin(theta), true
	return r * math.Cos(theta)
}

func (g *Generator) uniform53() float64 {
	return float64(g.Uint64()&(1<<53-1)) * (1.0 / (1 << 53))
}

// Perm is torch.randperm(n).
func (g *Generator) Perm(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := range n - 1 {
		j := i + int(g.Uint32()%uint32(n-i))
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Intn is one number of torch.randint(0, n): n is below 2^32.
func (g *Generator) Intn(n int) int { return int(g.Uint32() % uint32(n)) }

// UniformBF16 fills x as tensor.uniform_(lo, hi) fills a bfloat16 tensor: 24 bits a number, multiplied and added in one rounding to
// float32, then rounded to bfloat16; what is rounded up to hi, which is not a value of the range, becomes lo.
func (g *Generator) UniformBF16(x []float32, lo, hi float64) {
	a, b := float32(lo), float32(hi)
	span := float64(b - a)
	top, bottom := BF16(b), BF16(a)
	for i := range x {
		u := float64(g.Uint32()&(1<<24-1)) * (1.0 / (1 << 24))
		if x[i] = BF16(float32(float64(u*span) + float64(a))); x[i] >= top {
			x[i] = bottom
		}
	}
}

// BF16 rounds to the nearest bfloat16 value, ties to even.
func BF16(x float32) float32 {
	b := math.Float32bits(x)
	if b&0x7f800000 == 0x7f800000 {
		return x
	}
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}
