package nn

import (
	"math"
	"testing"

	"github.com/adaptflow/adaptflow/kernels"
)

// TestRopeOfParts: where the angles depend on the length of a text, a text that comes in parts, each of which knows that length, is turned
// as at once.
func TestRopeOfParts(t *testing.T) {
	const heads, hd, limit, n = 2, 8, 10, 23
	freq := func(scale float64) []float64 { return []float64{scale, scale / 3, scale / 10, scale / 30} }
	table := func(scale float64) *kernels.RopeTable { return kernels.NewRopeTable(freq(scale), 64, 1) }
	for name, op := range map[string]Op{
		"long": &LongRope{Heads: heads, HeadDim: hd, RotaryDim: hd, Short: table(1), Long: table(0.5), Limit: limit},
		"dynamic": &DynamicRope{Heads: heads, HeadDim: hd, RotaryDim: hd, Table: table(1), Limit: limit,
			Frequencies: func(length int) []float64 { return freq(1 / float64(length)) }},
	} {
		x := normal("x", n*heads*hd, 1)
		turn := func(from, to int) []float32 {
			w := &Work{Step: &Step{Tokens: make([]int32, to-from), Docs: []kernels.Doc{{End: int32(to - from), Past: int32(from)}},
				Texts: []Text{{Tokens: make([]int32, n), At: from}}},
				In: [][]float32{x[from*heads*hd : to*heads*hd]}, Out: make([]float32, (to-from)*heads*hd)}
			for i := from; i < to; i++ {
				w.Step.Positions = append(w.Step.Positions, int32(i))
			}
			op.Forward(w)
			return w.Out
		}
		whole := turn(0, n)
		parts := append(append(turn(0, 4), turn(4, 11)...), turn(11, n)...)
		for i := range whole {
			if math.Float32bits(whole[i]) != math.Float32bits(parts[i]) {
				t.Fatalf("%s: value %d is %v at once, %v in parts", name, i, whole[i], parts[i])
			}
		}
	}
}
