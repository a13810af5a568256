package mt19937

import "testing"

// TestWord10000 is the check that the C++ standard gives of std::mt19937: the 10000th word of the seed 5489.
func TestWord10000(t *testing.T) {
	s := New(5489)
	for range 9999 {
		s.Uint32()
	}
	if got := s.Uint32(); got != 4123659995 {
		t.Errorf("word %d, want 4123659995", got)
	}
}
