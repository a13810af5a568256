package dedupe

// mt19937 is the Mersenne Twister as numpy.random.RandomState(seed) seeds it (Matsumoto and Nishimura 1998).
type mt19937 struct {
	state [624]uint32
	i     int
}

func newMT19937(seed uint32) *mt19937 {
	m := &mt19937{i: 624}
	for i := range m.state {
		m.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return m
}

func (m *mt19937) next32() uint32 {
	if m.i == 624 {
		for k := range m.state {
			y := m.state[k]&0x80000000 | m.state[(k+1)%624]&0x7fffffff
			m.state[k] = m.state[(k+397)%624] ^ y>>1 ^ (y&1)*0x9908b0df
		}
		m.i = 0
	}
	y := m.state[m.i]
	m.i++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// uint64s draws n numbers from low to high-1 as RandomState.randint(low, high, dtype=uint64) does: masked, rejected when too large.
func (m *mt19937) uint64s(n int, low, high uint64) []uint64 {
	span := high - 1 - low
	mask := span
	for s := 1; s < 64; s *= 2 {
		mask |= mask >> s
	}
	out := make([]uint64, 0, n)
	for len(out) < n {
		x := uint64(m.next32())<<32 | uint64(m.next32())
		if x &= mask; x <= span {
			out = append(out, low+x)
		}
	}
	return out
}
