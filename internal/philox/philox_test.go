package philox

import (
	"math"
	"testing"
)

// The vectors are those of the Random123 distribution (kat_vectors, philox4x32 10).
func TestKnownAnswers(t *testing.T) {
	for _, c := range []struct {
		key       Key
		ctr, want [4]uint32
	}{
		{Key{0, 0}, [4]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{Key{0xffffffff, 0xffffffff}, [4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{Key{0xa4093822, 0x299f31d0}, [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := c.key.Block(c.ctr); got != c.want {
			t.Errorf("key %x counter %x: %x, want %x", c.key, c.ctr, got, c.want)
		}
	}
}

func TestNormalMoments(t *testing.T) {
	x := make([]float32, 100_000)
	NewKey(1, "init", "a").FillNormal(x, 1, 2)
	var s, q float64
	for _, v := range x {
		s += float64(v)
		q += (float64(v) - 1) * (float64(v) - 1)
	}
	if m := s / float64(len(x)); math.Abs(m-1) > 0.03 {
		t.Errorf("mean %g, want 1", m)
	}
	if v := q / float64(len(x)); math.Abs(v-4) > 0.08 {
		t.Errorf("variance %g, want 4", v)
	}
}

func TestPermutation(t *testing.T) {
	p := NewKey(3, "order", "").Permutation(1000)
	seen := make([]bool, len(p))
	fixed := 0
	for i, v := range p {
		if seen[v] {
			t.Fatalf("%d twice", v)
		}
		seen[v] = true
		if i == v {
			fixed++
		}
	}
	if fixed > 20 {
		t.Errorf("%d fixed points in a permutation of 1000", fixed)
	}
}
