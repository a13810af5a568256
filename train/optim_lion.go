package train

// lion is Lion (Chen et al. 2023, arXiv:2302.06675) as bitsandbytes' Lion32bit: the sign of the interpolated momentum, with decoupled
// weight decay. adam_beta1 and adam_beta2 are its betas; 0.9 and 0.99 are the paper's.
func lion(u *update) {
	b1, w1, b2, w2 := float32(u.AdamBeta1), float32(1-u.AdamBeta1), float32(u.AdamBeta2), float32(1-u.AdamBeta2)
	l, keep := float32(u.lr), float32(1-u.lr*u.decay)
	for i, gi := range u.g {
		m := &u.state[0][i]
		u.p[i] = float32(u.p[i]*keep) - float32(l*sign(float32(*m*b1)+float32(w1*gi)))
		*m = float32(*m*b2) + float32(w2*gi)
	}
}

func sign(x float32) float32 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}
