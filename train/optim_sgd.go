package train

func sgdStates(o options, name string, rows, cols int) []state {
	if !o.on("momentum") {
		return nil
	}
	return []state{{"momentum_buffer", rows * cols}}
}

// sgd is stochastic gradient descent as torch.optim.SGD: weight decay is added to the gradient; optim_args momentum, dampening, nesterov.
func sgd(u *update) {
	l, d := float32(u.lr), float32(u.decay)
	mom, damp := float32(u.o["momentum"]), float32(1-u.o["dampening"])
	for i, gi := range u.g {
		gi += float32(d * u.p[i])
		if mom != 0 {
			b := &u.state[0][i]
			if u.step == 1 {
				*b = gi
			} else {
				*b = float32(*b*mom) + float32(damp*gi)
			}
			if u.o.on("nesterov") {
				gi += float32(mom * *b)
			} else {
				gi = *b
			}
		}
		u.p[i] -= float32(l * gi)
	}
}
