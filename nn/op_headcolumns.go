package nn

// HeadColumns picks, of every Stride columns of x [T, n·Stride], those from From to To, [T, n·(To-From)]: the queries, keys or
// values of a projection that interleaves the three head by head (query_key_value of GPT-NeoX).
type HeadColumns struct{ From, To, Stride int }

// Plan implements Op.
func (c *HeadColumns) Plan(in []Shape, want []bool) Plan {
	return Plan{Out: Shape{Rows: in[0].Rows, Count: in[0].Count, Cols: in[0].Cols / c.Stride * (c.To - c.From)}}
}

// pieces calls f for each run of columns of full and the place that it has in part.
func (c *HeadColumns) pieces(w *Work, full, part []float32, f func(full, part []float32)) {
	n := c.To - c.From
	const block = 1024
	runs := len(full) / c.Stride
	w.Pool.Run((runs+block-1)/block, func(i int) {
		for r := i * block; r < min((i+1)*block, runs); r++ {
			f(full[r*c.Stride+c.From:r*c.Stride+c.To], part[r*n:(r+1)*n])
		}
	})
}

// Forward implements Op.
func (c *HeadColumns) Forward(w *Work) {
	c.pieces(w, w.In[0], w.Out, func(full, part []float32) { copy(part, full) })
}

// Backward implements Op.
func (c *HeadColumns) Backward(w *Work) {
	c.pieces(w, w.DIn[0], w.DOut, func(full, part []float32) {
		for i, v := range part {
			full[i] += v
		}
	})
}
