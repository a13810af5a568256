package ggml

import "math"

// What the K formats share. A block of 256 values is cut into groups of 16 or 32, each with a scale, and in Q2_K, Q4_K and Q5_K with a
// least value; these are quantised in their turn, by one scale in half precision a block. The quantisers search the scales of a group: they
// try several, take the codes that each gives, and keep the pair with the least weighted error after the scale was fitted to the codes.

// kBlock is the values of a block.
const kBlock = 256

// tiny is what ggml takes for a group of zeros.
const tiny = 1e-15

// nearest rounds to an integer, ties to even.
func nearest(v float32) int { return int(math.RoundToEven(float64(v))) }

// largest is the value of the largest magnitude, with its sign.
func largest(x []float32) (v float32) {
	for _, e := range x {
		if abs(e) > abs(v) {
			v = e
		}
	}
	return v
}

// fitting is how [fitting.fit] searches.
type fitting struct {
	top        int     // the largest code
	from, step float32 // by what the inverse scales that are tried depart from top/(range of the values)
	tries      int
	absolute   bool // the error is of magnitudes, not of squares
}

// fit finds a scale and the amount below zero at which the codes begin, both not negative, such that scale·code − below is near x by the
// weights w. It returns the codes in q, for which room has as much space.
func (f fitting) fit(x, w []float32, q, room []int) (scale, below float32) {
	least, most := x[0], x[0]
	sumW := w[0]
	sumX := sumW * x[0]
	for i := 1; i < len(x); i++ {
		least, most = min(least, x[i]), max(most, x[i])
		sumW += w[i]
		sumX += float32(w[i] * x[i])
	}
	least = min(least, 0)
	if most == least {
		clear(q)
		return 0, -least
	}
	inverse := float32(f.top) / (most - least)
	scale = 1 / inverse
	f.codes(q, x, inverse, least)
	best := f.err(x, w, q, scale, least)
	for try := range f.tries + 1 {
		inverse = (f.from + float32(f.step*float32(try)) + float32(f.top)) / (most - least)
		f.codes(room, x, inverse, least)
		var sumL, sumL2, sumXL float32
		for i, c := range room {
			l := float32(c)
			sumL += float32(w[i] * l)
			sumL2 += float32(float32(w[i]*l) * l)
			sumXL += float32(float32(w[i]*l) * x[i])
		}
		det := float32(sumW*sumL2) - float32(sumL*sumL)
		if det <= 0 {
			continue
		}
		s := (float32(sumW*sumXL) - float32(sumX*sumL)) / det
		m := (float32(sumL2*sumX) - float32(sumL*sumXL)) / det
		if m > 0 {
			m, s = 0, sumXL/sumL2
		}
		if e := f.err(x, w, room, s, m); e < best {
			copy(q, room)
			best, scale, least = e, s, m
		}
	}
	return scale, -least
}

func (f fitting) codes(q []int, x []float32, inverse, least float32) {
	for i, v := range x {
		q[i] = min(max(nearest(inverse*(v-least)), 0), f.top)
	}
}

func (f fitting) err(x, w []float32, q []int, scale, least float32) (sum float32) {
	for i, v := range x {
		d := float32(scale*float32(q[i])) + least - v
		if f.absolute {
			d = abs(d)
		} else {
			d *= d
		}
		sum += float32(w[i] * d)
	}
	return sum
}

// packed6 are the 12 bytes of eight scales and eight least values of 6 bits each, of Q4_K and Q5_K: the first four of both, each with two
// bits of another in its upper bits, then the lower four bits of the others.
type packed6 []byte

// get gives scale and least value number j.
func (p packed6) get(j int) (scale, least int) {
	if j < 4 {
		return int(p[j] & 63), int(p[j+4] & 63)
	}
	return int(p[j+4]&15 | p[j-4]>>6<<4), int(p[j+4]>>4 | p[j]>>6<<4)
}

// put writes them: those from 4 on after the first four.
func (p packed6) put(j, scale, least int) {
	if j < 4 {
		p[j], p[j+4] = byte(scale), byte(least)
		return
	}
	p[j+4] = byte(scale&15 | least&15<<4)
	p[j-4] |= byte(scale>>4) << 6
	p[j] |= byte(least>>4) << 6
}

// twoScales quantises the 8 groups of 32 of Q4_K and Q5_K: it writes d, dmin and the packed scales to the first 16 bytes of b and returns
// the codes.
func twoScales(b []byte, x []float32, f fitting) (q [kBlock]int) {
	var scales, belows, w [32]float32
	var room [32]int
	for j := range 8 {
		g := x[32*j:][:32]
		var sum float32
		for _, v := range g {
			sum += float32(v * v)
		}
		mean := float32(math.Sqrt(float64(sum / 32)))
		for i, v := range g {
			w[i] = mean + abs(v)
		}
		scales[j], belows[j] = f.fit(g, w[:], q[32*j:][:32], room[:])
	}
	var mostS, mostB float32
	for j := range 8 {
		mostS, mostB = max(mostS, scales[j]), max(mostB, belows[j])
	}
	inverse := func(most float32) float32 {
		if most > 0 {
			return 63 / most
		}
		return 0
	}
	inverseS, inverseB := inverse(mostS), inverse(mostB)
	p := packed6(b[4:16])
	clear(p)
	for j := range 8 {
		p.put(j, min(63, nearest(inverseS*scales[j])), min(63, nearest(inverseB*belows[j])))
	}
	d, dmin := putHalf(b, mostS/63), putHalf(b[2:], mostB/63)
	for j := range 8 {
		s, m := p.get(j)
		ds, dm := d*float32(s), dmin*float32(m)
		if ds == 0 {
			continue
		}
		for i := 32 * j; i < 32*j+32; i++ {
			q[i] = min(max(nearest((x[i]+dm)/ds), 0), f.top)
		}
	}
	return q
}
