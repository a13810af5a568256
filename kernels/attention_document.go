package kernels

import "math"

// Sums by document ([Attn.ByDocument]) are those of training, whose bits runs that were begun depend on: documents of few rows have sums of
// their own, key by key, and those of the others end where the document does, which the groups of four of the plain set tell.

// documentValues is values for a whole document without a cache: one sum over the prefix and keys [0, hi), or where keys before lo are
// beyond the window, that over the prefix with that over keys [lo, hi) added.
func (f *attnForward) documentValues(u attnUnit, s []float32, ld int, o []float32, stride, m, lo, hi int) {
	d, hd, v := u.d, f.a.HeadDim, f.vec
	vc := f.vc[f.at(u):]
	if lo == 0 {
		v.mm(m, hd, d.prefix+hi, s, ld, 1, vc, hd, o, stride, false)
		return
	}
	v.mm(m, hd, d.prefix, s, ld, 1, vc, hd, o, stride, false)
	v.mm(m, hd, hi-lo, s[d.prefix+lo:], ld, 1, vc[(d.prefix+lo)*hd:], hd, o, stride, true)
}

// short computes a row of a document of few rows for the heads of a unit, straight from where the keys and values are.
func (f *attnForward) short(u attnUnit) {
	a, hd, v, d := f.a, f.a.HeadDim, f.vec, u.d
	lo, hi := a.sees(d, u.i0)
	n, w := d.prefix+hi, a.KVHeads*hd
	buf := scratchOf(n)
	x := buf.x[:n]
	for h := u.h; h <= u.h+u.more; h++ {
		at := (int(d.Start)+u.i0)*a.Heads + h
		q, o := f.q[at*hd:][:hd], f.out[at*hd:][:hd]
		parts := f.src.parts(d, h/(a.Heads/a.KVHeads))
		for _, p := range parts {
			for j := range min(p.n, n-p.at) {
				if key := p.at + j; key >= d.prefix && key < d.prefix+lo {
					x[key] = float32(math.Inf(-1))
				} else {
					x[key] = v.dot(q, p.k[j*w:][:hd])
				}
			}
		}
		scale := a.Scale
		if a.SoftCap != 0 {
			scale = 1
			v.softcap(x[:d.prefix], a.Scale, a.SoftCap)
			v.softcap(x[d.prefix+lo:], a.Scale, a.SoftCap)
		}
		mx := v.max(x) * scale
		sum := v.exp(x, scale, mx)
		if f.lse != nil {
			f.lse[at] = mx + float32(math.Log(float64(sum)))
		}
		clear(o)
		for _, p := range parts {
			for j := range min(p.n, n-p.at) {
				if y := x[p.at+j]; y != 0 {
					v.axpy(y, p.v[j*w:][:hd], o)
				}
			}
		}
		v.scale(1/sum, o)
	}
	scratchPool.Put(buf)
}
