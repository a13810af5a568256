package nn

// HeadNorm is RMSNorm of each head by itself: x [T, n·D] is normalised D columns at a time with one weight [D] (the q_norm and k_norm of
// Qwen3 and Gemma 3; Henry et al. 2020).
type HeadNorm struct{ RMSNorm }

// Plan implements Op.
func (n *HeadNorm) Plan(in []Shape, want []bool) Plan {
	p := n.RMSNorm.Plan(in, want)
	p.Saved[0].Cols = in[0].Cols / n.D
	return p
}
