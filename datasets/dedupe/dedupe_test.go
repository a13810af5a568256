package dedupe

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// The values are numpy's, RandomState(42).randint(1, 2**61-1, dtype=uint64).
func TestMT19937(t *testing.T) {
	want := []uint64{2297359619001564596, 1396682528897996047, 1973689801170867272}
	if got := uint64s(randomState(42), 3, 1, mersenne); !slices.Equal(got, want) {
		t.Errorf("got %d, want %d", got, want)
	}
}

// The products wrap modulo 2^64 before they are reduced; exact integers would give 1876946167025667843.
func TestWrapAround(t *testing.T) {
	m, err := NewMinHash(DefaultMinHash())
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Signature([]uint64{1<<64 - 1}); got[0] != 287279746106820513 || got[1] != 1872227816282589746 {
		t.Errorf("got %d", got[:2])
	}
	for _, x := range []uint64{0, 1, mersenne - 1, mersenne, mersenne + 1, 2 * mersenne, 1<<64 - 1} {
		if mod(x) != x%mersenne {
			t.Errorf("%d mod 2^61-1 = %d", x, mod(x))
		}
	}
}

// Propagation gives what a search of the graph gives, in any order of the pairs, also along a path, its worst case.
func TestPropagate(t *testing.T) {
	g := rand.New(rand.NewPCG(1, 2))
	for trial := range 60 {
		n := 2 + trial*3
		var pairs []Pair
		if trial%2 == 0 {
			for i := 1; i < n; i++ {
				pairs = append(pairs, Pair{ID{0, uint32(i - 1)}, ID{0, uint32(i)}})
			}
		} else {
			for range n {
				pairs = append(pairs, Pair{ID{uint32(g.IntN(3)), uint32(g.IntN(n))}, ID{uint32(g.IntN(3)), uint32(g.IntN(n))}})
			}
		}
		var want []Pair
		for _, c := range Clusters(pairs) {
			for _, id := range c.IDs[1:] {
				want = append(want, Pair{c.IDs[0], id})
			}
		}
		g.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		got, rounds := Propagate(pairs)
		if !reflect.DeepEqual(got, tidy(want)) && len(got)+len(want) > 0 {
			t.Fatalf("%d documents: got %v, want %v", n, got, want)
		}
		if rounds > 12 {
			t.Errorf("%d documents took %d rounds", n, rounds)
		}
	}
}

func TestDuplicates(t *testing.T) {
	got := Duplicates([]Hashed{{Hash: 7, ID: ID{0, 5}}, {Hash: 7, ID: ID{1, 2}}, {Hash: 3, ID: ID{0, 0}}, {Hash: 7, ID: ID{0, 2}}})
	want := []Hashed{{Hash: 7, ID: ID{1, 2}}, {Hash: 7, ID: ID{0, 5}}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v: the lowest position stays, then the lowest file", got, want)
	}
	if got := RemoveParts([]string{"a", "b", "a", "c"}, []uint32{2}, "\n"); got != "a\nb\nc" {
		t.Errorf("got %q", got)
	}
}
