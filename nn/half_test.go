package nn

import (
	"math"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// The values kept as bfloat16 give the same bits however they are kept or made again, and gradients near those of float32.
func TestBFloat16(t *testing.T) {
	for name, f := range toys {
		t.Run(name, func(t *testing.T) {
			m := small()
			f(&m)
			s := m.step(9, 5, 14)
			_, exact := run(t, m, s, Options{})
			logp, want := run(t, m, s, Options{DType: BFloat16, Checkpoint: CheckpointNone})
			two := pool.New(2)
			defer two.Close()
			for what, o := range map[string]Options{
				"checkpointing": {Checkpoint: CheckpointAll}, "poison": {Checkpoint: CheckpointNone, Poison: true},
				"both": {Checkpoint: CheckpointAll, Poison: true}, "two threads": {Pool: two, Poison: true},
			} {
				o.DType = BFloat16
				l, g := run(t, m, s, o)
				equalBits(t, what, want, g)
				equalBits(t, what+", log p", map[string][]float32{"": logp}, map[string][]float32{"": l})
			}
			differ, norm := 0.0, 0.0
			for name := range exact {
				for i, v := range exact[name] {
					d := float64(v - want[name][i])
					differ += d * d
					norm += float64(v) * float64(v)
				}
			}
			// A value rounded to 8 bits is off by up to 1/256 of itself.
			if r := math.Sqrt(differ / norm); r == 0 || r > 0.02 {
				t.Errorf("the gradients differ from float32's by %.2g of their norm; want a little, at most 0.02", r)
			}
		})
	}
}

// What is kept takes half the room.
func TestBFloat16HalvesTheArena(t *testing.T) {
	m := small()
	m.layers = 12
	s := m.step(16, 16)
	arena := func(d DType) int64 {
		p, err := Compile(m, nil, NewParams(1), Options{Caps: caps(s), DType: d, Checkpoint: CheckpointNone})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		return p.Memory().Arena
	}
	wide, narrow := arena(Float32), arena(BFloat16)
	if float64(narrow) > 0.75*float64(wide) {
		t.Errorf("the arena is %d bytes in bfloat16 and %d in float32", narrow, wide)
	}
}
