package dedupe

import "github.com/adaptflow/adaptflow/internal/mt19937"

// uint64s draws n numbers from low to high-1 as RandomState.randint(low, high, dtype=uint64) does: masked, rejected when too large.
func uint64s(m *mt19937.Source, n int, low, high uint64) []uint64 {
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
