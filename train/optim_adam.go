package train

import "math"

func adamStates(o options, name string, rows, cols int) []state {
	n := rows * cols
	s := []state{{"exp_avg", n}, {"exp_avg_sq", n}}
	if o.on("amsgrad") {
		s = append(s, state{"max_exp_avg_sq", n})
	}
	return s
}

// adamW is AdamW (Loshchilov and Hutter 2019) as torch.optim.AdamW; optim_args amsgrad after Reddi et al. 2018.
func adamW(u *update) { u.adam(float32(1-u.lr*u.decay), 0) }

// adam is Adam (Kingma and Ba 2015) with weight decay added to the gradient, as torch.optim.Adam.
func adam(u *update) { u.adam(1, float32(u.decay)) }

// adam multiplies the values by keep, and adds l2 times them to the gradient.
func (u *update) adam(keep, l2 float32) {
	b1, b2 := u.AdamBeta1, u.AdamBeta2
	c1, c2 := 1-math.Pow(b1, float64(u.step)), math.Sqrt(1-math.Pow(b2, float64(u.step)))
	size, root, eps := float32(-u.lr/c1), float32(c2), float32(u.AdamEpsilon)
	w1, w2, k2 := float32(1-b1), float32(1-b2), float32(b2)
	p, m, v := u.p, u.state[0], u.state[1]
	for i, gi := range u.g {
		x := p[i] * keep
		if l2 != 0 {
			gi += float32(l2 * p[i])
		}
		m[i] += float32(w1 * (gi - m[i]))
		v[i] = float32(v[i]*k2) + float32(float32(w2*gi)*gi)
		second := v[i]
		if len(u.state) > 2 {
			u.state[2][i] = max(u.state[2][i], second)
			second = u.state[2][i]
		}
		d := float32(float32(math.Sqrt(float64(second)))/root) + eps
		p[i] = x + float32(float32(size*m[i])/d)
	}
}
