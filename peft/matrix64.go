package peft

import (
	"math"
)

// mul is c = a·b, or c += a·b, of matrices [n, n]; ta and tb transpose.
func mul64(c, a, b []float64, n int, ta, tb, add bool) {
	if !add {
		clear(c[:n*n])
	}
	if tb { // rows by rows; no caller transposes both
		for i := range n {
			x, row := a[i*n:(i+1)*n], c[i*n:(i+1)*n]
			for j := range row {
				y := b[j*n : (j+1)*n][:len(x)]
				s0, s1, k := 0.0, 0.0, 0
				for ; k+1 < len(x); k += 2 {
					s0 += float64(x[k] * y[k])
					s1 += float64(x[k+1] * y[k+1])
				}
				if k < len(x) {
					s0 += float64(x[k] * y[k])
				}
				row[j] += s0 + s1
			}
		}
		return
	}
	ar, ac := n, 1
	if ta {
		ar, ac = 1, n
	}
	for i := range n {
		row := c[i*n : (i+1)*n]
		for k := range n {
			v := a[i*ar+k*ac]
			if v == 0 {
				continue
			}
			y := b[k*n : (k+1)*n][:len(row)]
			for j := range row {
				row[j] += float64(v * y[j])
			}
		}
	}
}

// invert writes the inverse of a [n, n] into b by Gauss and Jordan with row pivots; a is destroyed. A singular matrix gives values that
// are not finite, which the training reports.
func invert(a, b []float64, n int) {
	clear(b[:n*n])
	for i := range n {
		b[i*n+i] = 1
	}
	for k := range n {
		p := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i*n+k]) > math.Abs(a[p*n+k]) {
				p = i
			}
		}
		if p != k {
			for j := range n {
				a[k*n+j], a[p*n+j] = a[p*n+j], a[k*n+j]
				b[k*n+j], b[p*n+j] = b[p*n+j], b[k*n+j]
			}
		}
		inv := 1 / a[k*n+k]
		for j := range n {
			a[k*n+j] *= inv
			b[k*n+j] *= inv
		}
		for i := range n {
			f := a[i*n+k]
			if i == k || f == 0 {
				continue
			}
			for j := range n {
				a[i*n+j] -= float64(f * a[k*n+j])
				b[i*n+j] -= float64(f * b[k*n+j])
			}
		}
	}
}
