package nn

import "fmt"

// OffsetPositions is PositionEmbedding with a table whose first Offset rows belong to no position: out[t] =
// W[positions[t]+Offset], [T, D]. W is [Offset+P, D]; it is not trained. OPT's table begins with two such rows.
type OffsetPositions struct {
	W            []float32
	P, D, Offset int
}

// Plan implements Op.
func (e *OffsetPositions) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: Shape{Rows: T, Cols: e.D}, Wide: true}
}

// Forward implements Op.
func (e *OffsetPositions) Forward(w *Work) {
	for t, p := range w.Step.Positions {
		if p < 0 || int(p) >= e.P {
			panic(fmt.Sprintf("nn: position %d at row %d, but the model has %d positions", p, t, e.P))
		}
		copy(w.Out[t*e.D:(t+1)*e.D], e.W[(int(p)+e.Offset)*e.D:])
	}
}

// Backward implements Op.
func (e *OffsetPositions) Backward(*Work) {}
