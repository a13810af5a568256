package nn

// Columns is the columns [From, To) of x [T, D]: the parts of a fused projection.
type Columns struct{ From, To int }

// Plan implements Op.
func (c *Columns) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: Shape{Rows: in[0].Rows, Count: in[0].Count, Cols: c.To - c.From}}
}

func (c *Columns) rows(w *Work, full, part []float32, f func(full, part []float32)) {
	n := c.To - c.From
	rows := len(part) / n
	d := len(full) / max(rows, 1)
	const block = 64
	w.Pool.Run((rows+block-1)/block, func(i int) {
		for r := i * block; r < min((i+1)*block, rows); r++ {
			f(full[r*d+c.From:r*d+c.To], part[r*n:(r+1)*n])
		}
	})
}

// Forward implements Op.
func (c *Columns) Forward(w *Work) {
	c.rows(w, w.In[0], w.Out, func(full, part []float32) { copy(part, full) })
}

// Backward implements Op.
func (c *Columns) Backward(w *Work) {
	c.rows(w, w.DIn[0], w.DOut, func(full, part []float32) {
		for i, v := range part {
			full[i] += v
		}
	})
}
