package tokenize

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The cache finds what a map would, for words that differ in one byte, in their length or in nothing but what lies between their ends.
func TestWordCache(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var words []string
	for n := 1; n <= 20; n++ {
		for range 400 {
			b := make([]byte, n)
			for i := range b {
				b[i] = "\x00ab"[rnd.IntN(3)]
			}
			words = append(words, string(b))
		}
	}
	for range 3 {
		var c wordCache
		want := map[string]cached{}
		for round := range 2 {
			for i, w := range words {
				v, ok := want[w]
				if got, found := c.get(w); found != ok || got != v {
					t.Fatalf("%q: %v %v, want %v %v", w, got, found, v, ok)
				}
				if !ok {
					want[w] = cached{int32(i), int32(round), several}
					c.put(w, want[w])
				}
			}
		}
		if c.words() != len(want) {
			t.Errorf("%d words of %d", c.words(), len(want))
		}
		c.clear()
		if _, found := c.get(words[0]); found || c.words() != 0 {
			t.Error("the cache is not empty when cleared")
		}
	}
}

func BenchmarkWordCache(b *testing.B) {
	var c wordCache
	words := make([]string, 4096)
	for i := range words {
		words[i] = fmt.Sprintf(" word%d", i*i)
		c.put(words[i], cached{int32(i), 1, int32(i)})
	}
	for i := 0; b.Loop(); i++ {
		if _, ok := c.get(words[i&4095]); !ok {
			b.Fatal(words[i&4095])
		}
	}
}
