package nn

// HeadNorm is RMSNorm of each head by itself: x [T, n·D] is normalised D columns at a time with one weight [D] (the q_norm and k_norm of
// Qwen3 and Gemma 3; Henry et al. 2020). It is not a [Module]: no module of the field's names has its weight alone.
type HeadNorm struct{ Norm RMSNorm }

// Plan implements Op.
func (n *HeadNorm) Plan(in []Shape, want []bool) Plan {
	p := n.Norm.Plan(in, want)
	p.Saved[0].Cols = in[0].Cols / n.Norm.D
	return p
}

// Forward implements Op.
func (n *HeadNorm) Forward(w *Work) { n.Norm.Forward(w) }

// Backward implements Op.
func (n *HeadNorm) Backward(w *Work) { n.Norm.Backward(w) }
