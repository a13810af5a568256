package train

import "math"

func rmspropStates(o options, name string, rows, cols int) []state {
	n := rows * cols
	s := []state{{"square_avg", n}}
	if o.on("momentum") {
		s = append(s, state{"momentum_buffer", n})
	}
	if o.on("centered") {
		s = append(s, state{"grad_avg", n})
	}
	return s
}

// rmsprop is RMSprop (Tieleman and Hinton 2012; centred: Graves 2013) as torch.optim.RMSprop.
func rmsprop(u *update) {
	alpha, rest, l, d, eps := float32(u.o["alpha"]), float32(1-u.o["alpha"]), float32(u.lr), float32(u.decay), float32(u.o["eps"])
	mom := float32(u.o["momentum"])
	sq := u.state[0]
	for i, gi := range u.g {
		gi += float32(d * u.p[i])
		sq[i] = float32(sq[i]*alpha) + float32(float32(rest*gi)*gi)
		avg := sq[i]
		if u.o.on("centered") {
			g := &u.state[len(u.state)-1][i]
			*g += float32(rest * (gi - *g))
			avg -= float32(*g * *g)
		}
		step := float32(gi / (float32(math.Sqrt(float64(avg))) + eps))
		if mom != 0 {
			b := &u.state[1][i]
			*b = float32(*b*mom) + step
			step = *b
		}
		u.p[i] -= float32(l * step)
	}
}

// adagrad is Adagrad (Duchi, Hazan and Singer 2011) as torch.optim.Adagrad.
func adagrad(u *update) {
	l := float32(u.lr / (1 + float64(u.step-1)*u.o["lr_decay"]))
	d, eps := float32(u.decay), float32(u.o["eps"])
	for i, gi := range u.g {
		gi += float32(d * u.p[i])
		s := &u.state[0][i]
		*s += float32(gi * gi)
		u.p[i] -= float32(float32(l*gi) / (float32(math.Sqrt(float64(*s))) + eps))
	}
}
