// Package mt19937 is the 32-bit Mersenne twister of Matsumoto and Nishimura, "Mersenne Twister" (ACM TOMACS 8, 1998), which numpy's RandomState and
// torch's CPU generator draw their words from.
package mt19937

// Source is a stream of words.
type Source struct {
	state [624]uint32
	at    int
}

// New starts a stream as init_genrand does, and with it RandomState(seed) and torch.Generator().manual_seed(seed).
func New(seed uint32) *Source {
	s := &Source{at: 624}
	for i := range s.state {
		s.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return s
}

// Uint32 is the next word.
func (s *Source) Uint32() uint32 {
	if s.at == 624 {
		for k := range s.state {
			y := s.state[k]&0x80000000 | s.state[(k+1)%624]&0x7fffffff
			s.state[k] = s.state[(k+397)%624] ^ y>>1 ^ (y&1)*0x9908b0df
		}
		s.at = 0
	}
	y := s.state[s.at]
	s.at++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// Uint64 is the next two words, the first one high.
func (s *Source) Uint64() uint64 {
	hi := s.Uint32()
	return uint64(hi)<<32 | uint64(s.Uint32())
}
