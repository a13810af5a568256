package dedupe

import "gonum.org/v1/gonum/mathext/prng"

// randomState is numpy.random.RandomState(seed).
func randomState(seed uint32) *prng.MT19937 {
	m := prng.NewMT19937()
	m.Seed(uint64(seed))
	return m
}

// uint64s draws n numbers from low to high-1 as RandomState.randint(low, high, dtype=uint64) does: masked, rejected when too large.
func uint64s(m *prng.MT19937, n int, low, high uint64) []uint64 {
	span := high - 1 - low
	mask := span
	for s := 1; s < 64; s *= 2 {
		mask |= mask >> s
	}
	out := make([]uint64, 0, n)
	for len(out) < n {
		x := m.Uint64()
		if x &= mask; x <= span {
			out = append(out, low+x)
		}
	}
	return out
}
