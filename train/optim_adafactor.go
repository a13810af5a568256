package train

import "math"

func adafactorStates(o options, name string, rows, cols int) []state {
	var s []state
	if rows > 1 {
		s = []state{{"exp_avg_sq_row", rows}, {"exp_avg_sq_col", cols}}
	} else {
		s = []state{{"exp_avg_sq", cols}}
	}
	if o["beta1"] != 0 {
		s = append(s, state{"exp_avg", rows * cols})
	}
	return s
}

// adafactor is Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) as transformers.Adafactor: the second moment of a matrix is kept as
// a row and a column. optim_args: scale_parameter, relative_step, warmup_init, beta1, clip_threshold, decay_rate, eps1, eps2; Trainer's
// defaults are scale_parameter=False, relative_step=False.
func adafactor(u *update) {
	n := len(u.p)
	rms := func(x []float32) float64 {
		s := 0.0
		for _, v := range x {
			s += float64(v) * float64(v)
		}
		return math.Sqrt(s / float64(len(x)))
	}
	lr := u.lr
	if u.o.on("relative_step") {
		least := 1e-2
		if u.o.on("warmup_init") {
			least = 1e-6 * float64(u.step)
		}
		lr = min(least, 1/math.Sqrt(float64(u.step)))
	}
	if u.o.on("scale_parameter") {
		lr *= max(u.o["eps2"], rms(u.p))
	}
	keep := 1 - math.Pow(float64(u.step), u.o["decay_rate"])
	up := make([]float32, n)
	if u.rows > 1 {
		row, col := u.state[0], u.state[1]
		rows, cols := make([]float64, u.rows), make([]float64, u.cols)
		for i := range u.rows {
			for j := range u.cols {
				g := float64(u.g[i*u.cols+j])
				v := g*g + u.o["eps1"]
				rows[i] += v
				cols[j] += v
			}
		}
		mean := 0.0
		for i := range row {
			row[i] = float32(float64(row[i])*keep + (1-keep)*rows[i]/float64(u.cols))
			mean += float64(row[i])
		}
		mean /= float64(u.rows)
		for j := range col {
			col[j] = float32(float64(col[j])*keep + (1-keep)*cols[j]/float64(u.rows))
		}
		for i := range row {
			r := 1 / math.Sqrt(float64(row[i])/mean)
			for j := range col {
				up[i*u.cols+j] = float32(r / math.Sqrt(float64(col[j])) * float64(u.g[i*u.cols+j]))
			}
		}
	} else {
		for i, g := range u.g {
			v := &u.state[0][i]
			*v = float32(float64(*v)*keep + (1-keep)*(float64(g)*float64(g)+u.o["eps1"]))
			up[i] = float32(float64(g) / math.Sqrt(float64(*v)))
		}
	}
	scale := float32(lr / max(1, rms(up)/u.o["clip_threshold"]))
	b1 := float32(u.o["beta1"])
	fall := float32(u.decay * lr)
	for i := range up {
		step := up[i] * scale
		if b1 != 0 {
			m := &u.state[len(u.state)-1][i]
			*m = float32(*m*b1) + float32((1-b1)*step)
			step = *m
		}
		u.p[i] = u.p[i] - float32(fall*u.p[i]) - step
	}
}
