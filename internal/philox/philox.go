// Package philox has the counter-based random numbers of adaptflow: Philox 4x32-10 after Salmon, Moraes, Dror and Shaw,
// "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
//
// A number is a pure function of a key and a counter, never of what was drawn before. The key comes from the seed, the
// purpose and a name (a parameter or a site); the counter from the optimiser step, the sequence id, the position and the
// channel. Threads, packing, checkpointing and replicas therefore change no number.
package philox

import (
	"hash/fnv"
	"math"
)

// Key selects one independent sequence of numbers.
type Key [2]uint32

// NewKey derives a key from the run's seed, the purpose ("init", "dropout", "order") and a name.
func NewKey(seed uint64, purpose, name string) Key {
	h := fnv.New64a()
	var b [8]byte
	for i := range b {
		b[i] = byte(seed >> (8 * i))
	}
	h.Write(b[:])
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write([]byte(name))
	s := h.Sum64()
	// One round of splitmix64, because FNV's high bits are weak for short input.
	s ^= s >> 30
	s *= 0xbf58476d1ce4e5b9
	s ^= s >> 27
	s *= 0x94d049bb133111eb
	s ^= s >> 31
	return Key{uint32(s), uint32(s >> 32)}
}

// Block returns the four 32-bit words at counter c.
func (k Key) Block(c [4]uint32) [4]uint32 {
	k0, k1 := k[0], k[1]
	for r := 0; r < 10; r++ {
		p0 := uint64(c[0]) * 0xD2511F53
		p1 := uint64(c[2]) * 0xCD9E8D57
		c = [4]uint32{uint32(p1>>32) ^ c[1] ^ k0, uint32(p1), uint32(p0>>32) ^ c[3] ^ k1, uint32(p0)}
		k0 += 0x9E3779B9
		k1 += 0xBB67AE85
	}
	return c
}

// At returns the four words at the 128-bit counter (hi, lo).
func (k Key) At(hi, lo uint64) [4]uint32 {
	return k.Block([4]uint32{uint32(lo), uint32(lo >> 32), uint32(hi), uint32(hi >> 32)})
}

// Uniform maps a word to [0, 1) with 24 bits, exact in float32.
func Uniform(w uint32) float32 { return float32(w>>8) * (1.0 / (1 << 24)) }

// Uniform64 maps two words to [0, 1) with 53 bits.
func Uniform64(a, b uint32) float64 {
	return float64((uint64(a)<<32|uint64(b))>>11) * (1.0 / (1 << 53))
}

// FillUniform fills x with numbers uniform in [lo, hi); element i depends on the key and i alone.
func (k Key) FillUniform(x []float32, lo, hi float64) {
	for i := range x {
		w := k.At(0, uint64(i)>>1)
		j := (i & 1) * 2
		x[i] = float32(lo + (hi-lo)*Uniform64(w[j], w[j+1]))
	}
}

// FillNormal fills x with normal numbers of the given mean and standard deviation (Box-Muller);
// element i depends on the key and i alone.
func (k Key) FillNormal(x []float32, mean, std float64) {
	for i := range x {
		w := k.At(0, uint64(i))
		u := 1 - Uniform64(w[0], w[1]) // in (0, 1], so that the logarithm is finite
		v := Uniform64(w[2], w[3])
		x[i] = float32(mean + std*math.Sqrt(-2*math.Log(u))*math.Cos(2*math.Pi*v))
	}
}

// Permutation returns a permutation of 0 … n-1 that depends on the key and n alone (Fisher-Yates).
func (k Key) Permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		w := k.At(1, uint64(i))
		j := int(Uniform64(w[0], w[1]) * float64(i+1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}
