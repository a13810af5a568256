package kernels

import (
	"fmt"
	"math"
	"sync"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// Attn is the shape of a causal self-attention with grouped key and value heads (Ainslie et al., 2023): query head h reads
// key/value head h/(Heads/KVHeads).
type Attn struct {
	Heads, KVHeads, HeadDim int
	Scale                   float32 // multiplies q·k; usually 1/√HeadDim
	Window                  int     // a query at i sees the keys j with i-j < Window; 0 means all before it
	SoftCap                 float32 // scores become SoftCap·tanh(score/SoftCap); 0 means none
	// ByDocument lets sums end where the document does, where a row's bits may depend on the document's length, though never on what stands
	// beside it: the bits of training. It does without a cache.
	ByDocument bool
}

// Doc is one document of a packed batch. Attention never crosses documents.
type Doc struct {
	Start, End int32 // rows of q, k and v
	Past       int32 // rows that precede Start: of the cache, or, where there is none, of a document before it
	Slot       int32 // its prefix in prefixK and prefixV, or -1 for none
	// Cache is where its rows of the cache begin, a multiple of CacheAlign, as is their room; where there is none, the row at which the
	// Past rows begin.
	Cache int32
}

const (
	attnRows   = 64 // query rows in a block, counted from the beginning of the document
	attnKeys   = 64 // keys in a panel of transposed keys
	decodeRows = 4  // of documents of no more rows, the query heads of a group take each row together
	attnGroup  = 4  // keys that the plain set adds up at once: sums over keys begin at a multiple of it, and end at one
)

// docKeys are the sizes of a document as one key/value head sees it: its keys are prefix, cache and own rows, in this order.
type docKeys struct {
	Doc
	rows, prefix, n int
	held            int // keys that are rearranged: the prefix, and where there is no cache the others, too
	off             int // where they begin, in keys
}

// width is how far the rows of the document's panels of keys are apart.
func (d *docKeys) width() int { return min(attnKeys, groups(d.held)) }

// groups is n rounded up to whole groups.
func groups(n int) int { return (n + attnGroup - 1) / attnGroup * attnGroup }

func (a Attn) check(name string, T int, docs []Doc, prefixLen int, cache *KVCache) (ks []docKeys, total int) {
	if a.Heads <= 0 || a.KVHeads <= 0 || a.Heads%a.KVHeads != 0 || a.HeadDim <= 0 {
		panic(fmt.Sprintf("kernels: %s: %d heads, %d key/value heads of %d", name, a.Heads, a.KVHeads, a.HeadDim))
	}
	room := 0
	if cache != nil {
		room = cache.rows(a)
	}
	ks = make([]docKeys, 0, len(docs))
	for _, d := range docs {
		last := int(d.Cache) + int(d.Past)
		if cache != nil {
			last += int(d.End - d.Start)
		}
		if cache == nil && d.Past > 0 {
			if last > int(d.Start) {
				panic(fmt.Sprintf("kernels: %s: the rows that precede document %+v do not lie before it", name, d))
			}
			last = 0
		}
		if d.Start < 0 || d.End < d.Start || int(d.End) > T || d.Past < 0 || d.Cache < 0 ||
			cache != nil && d.Cache%CacheAlign != 0 || last > room {
			panic(fmt.Sprintf("kernels: %s: document %+v of %d rows, %d in the cache", name, d, T, room))
		}
		k := docKeys{Doc: d, rows: int(d.End - d.Start), off: total}
		if d.Slot >= 0 {
			k.prefix = prefixLen
		}
		k.n = k.prefix + int(d.Past) + k.rows
		if k.held = k.prefix; cache == nil {
			k.held = k.n
		}
		if k.rows == 0 {
			continue
		}
		ks = append(ks, k)
		// Rows of values end with a whole group of the document's own.
		total += max((k.held+attnKeys-1)/attnKeys*k.width(), k.prefix+groups(k.held-k.prefix))
	}
	return ks, total
}

// span gives the keys that the rows of block can see together, row i of the document among them, and all before its end hi: keys [lo, hi)
// besides the prefix, counted from the first of the cache. Blocks are counted from the beginning of the document, so that lo does not
// depend on how many of its rows are in the cache.
func (a Attn) span(d *docKeys, i, hi int) (int, int) {
	lo := 0
	if a.Window > 0 {
		lo = max(0, (int(d.Past)+i)/attnRows*attnRows-a.Window+1)
	}
	return lo, int(d.Past) + hi
}

// few says whether a document has so few rows that they are taken one by one; by document those that precede it count.
func (a Attn) few(d *docKeys) bool {
	n := d.rows
	if a.ByDocument {
		n += int(d.Past)
	}
	return n <= decodeRows
}

// sees gives the keys that row i sees, as span does.
func (a Attn) sees(d *docKeys, i int) (lo, hi int) {
	if a.Window > 0 {
		lo = max(0, int(d.Past)+i-a.Window+1)
	}
	return lo, int(d.Past) + i + 1
}

// SharedRows is how many of the first n rows, which two texts of a and b rows have in common, have the same bits in both, by whatever sums
// ([Attn.ByDocument]): the second may go on from these of the first.
func SharedRows(n, a, b int) int {
	if min(a, b) <= decodeRows {
		return 0
	}
	return n / attnGroup * attnGroup
}

var scratchPool sync.Pool

type scratchBuf struct{ x []float32 }

// scratchOf returns a buffer of n values, not cleared; give it back with scratchPool.Put.
func scratchOf(n int) *scratchBuf {
	b, _ := scratchPool.Get().(*scratchBuf)
	if b == nil || len(b.x) < n {
		b = &scratchBuf{x: make([]float32, n)}
	}
	return b
}

// Forward computes out [T, Heads·HeadDim] = softmax(mask(q·kᵀ·Scale))·v for q [T, Heads·HeadDim] and k, v [T, KVHeads·HeadDim],
// causally within each document of docs; rows outside all documents are left alone. lse [T, Heads] receives the
// log-sum-exp of the scores, which Backward needs; it may be nil.
//
// prefixK and prefixV [slots, prefixLen, KVHeads·HeadDim] are keys and values that every query of a document with Slot >= 0 sees and that
// no mask hides, the window neither (transformers hides prefix keys beyond the window in models with sliding-window layers, since it counts
// them as past positions). cache, which may be nil, holds from row Cache the Past rows that precede a document; the document's k and v are
// put behind them, and all keys and values are read from there.
//
// Without a cache a document may go on from the first Past rows of one before it, whose beginning both have in common: row Cache is the
// first of them. Its rows have the bits that they have in a document with these rows of its own; see [SharedRows].
//
// A row's sums run over its keys in their order, from places that its position alone decides: its bits are the same whether the rows before
// it came with it or lie in the cache; but see [Attn.ByDocument].
func (a Attn) Forward(p *pool.Pool, out, lse, q, k, v []float32, docs []Doc, prefixK, prefixV []float32, prefixLen int, cache *KVCache) {
	H, KV, hd := a.Heads, a.KVHeads, a.HeadDim
	T := len(q) / (H * hd)
	needRows("Attn.Forward", T, H*hd, out)
	if a.ByDocument && cache != nil {
		panic("kernels: Attn.Forward: a cache and sums by document")
	}
	ks, total := a.check("Attn.Forward", min(T, len(k)/(KV*hd), len(v)/(KV*hd)), docs, prefixLen, cache)
	f := &attnForward{a: a, vec: vec(), out: out, lse: lse, q: q, total: total, cache: cache,
		src: attnSource{a: a, prefixLen: prefixLen, prefixK: prefixK, prefixV: prefixV, k: k, v: v, cached: cache != nil}}

	// Keys in transposed panels and values in rows, [KVHeads, total, HeadDim] each.
	buf := idleKeys.get(8 * KV * total * hd)
	defer idleKeys.put(buf)
	f.kt, f.vc = buf.Float32()[:KV*total*hd], buf.Float32()[KV*total*hd:]
	p.Run(len(ks)*KV, func(i int) {
		d, kv := &ks[i/KV], i%KV
		at := (kv*total + d.off) * hd
		f.src.eachKey(d, kv, func(j int, krow, vrow []float32) {
			copy(f.vc[at+j*hd:][:hd], vrow)
		})
		clear(f.vc[at+d.held*hd : at+(d.prefix+groups(d.held-d.prefix))*hd])
		f.src.transposed(d, kv, f.kt[at:], d.width(), false)
		if cache != nil {
			cache.put(a, d, kv, k, v)
		}
	})
	units := f.units(ks, p.Threads())
	p.Run(len(units), func(i int) { f.block(units[i]) })
}

type attnForward struct {
	a           Attn
	vec         *vecSet
	out, lse, q []float32
	src         attnSource
	kt, vc      []float32
	total       int
	cache       *KVCache
}

// attnUnit is what one thread computes at a time: rows [i0, i1) of a document for one query head, or one row for several of a group.
type attnUnit struct {
	d       *docKeys
	h, more int // the first query head, and how many follow it
	i0, i1  int
}

func (f *attnForward) units(ks []docKeys, threads int) []attnUnit {
	a, few := f.a, 0
	for i := range ks {
		if a.few(&ks[i]) {
			few++
		}
	}
	step := a.Heads / a.KVHeads // the heads of a group read the keys once
	if few*a.KVHeads < 2*threads {
		step = 1
	}
	var units []attnUnit
	for i := range ks {
		d := &ks[i]
		if a.few(d) {
			for r := range d.rows {
				for h := 0; h < a.Heads; h += step {
					units = append(units, attnUnit{d, h, step - 1, r, r + 1})
				}
			}
			continue
		}
		for h := range a.Heads {
			for i0, i1 := 0, 0; i0 < d.rows; i0 = i1 {
				i1 = min(d.rows, (int(d.Past)+i0)/attnRows*attnRows+attnRows-int(d.Past))
				units = append(units, attnUnit{d, h, 0, i0, i1})
			}
		}
	}
	return units
}

// block computes a unit: all scores, their softmax, then the weighted sum of values.
func (f *attnForward) block(u attnUnit) {
	a, hd, v, d := f.a, f.a.HeadDim, f.vec, u.d
	if a.ByDocument && a.few(d) {
		f.short(u)
		return
	}
	m, stride := u.i1-u.i0, a.Heads*hd
	if u.more > 0 {
		m, stride = 1+u.more, hd
	}
	lo, hi := a.span(d, u.i0, u.i1)
	ld := scoreStride(d.n)
	buf := scratchOf(m*ld + m*hd + attnKeys*hd)
	s, part, page := buf.x[:m*ld], buf.x[m*ld:][:m*hd], buf.x[m*(ld+hd):][:attnKeys*hd]
	q := (int(d.Start)+u.i0)*a.Heads + u.h // in heads
	f.scores(u, s, ld, f.q[q*hd:], stride, m, lo, hi, page)
	scale := a.capScores(v, s, ld, m, d, lo, hi)
	from, to := lo/attnGroup*attnGroup, groups(hi)
	if a.ByDocument {
		from, to = lo, hi
	}
	var inv [attnRows]float32
	for r := range m {
		i, h := u.i0+r, 0
		if u.more > 0 {
			i, h = u.i0, r
		}
		row := s[r*ld:][:ld]
		rlo, rhi := a.sees(d, i)
		for j := d.prefix + lo; j < d.prefix+rlo; j++ {
			row[j] = float32(math.Inf(-1))
		}
		var mx, sum float32
		if lo == 0 {
			vis := row[:d.prefix+rhi]
			mx = v.max(vis) * scale
			sum = v.exp(vis, scale, mx)
		} else {
			pre, own := row[:d.prefix], row[d.prefix+lo:d.prefix+rhi]
			mx = max(v.max(pre), v.max(own)) * scale
			sum = v.exp(pre, scale, mx) + v.exp(own, scale, mx)
		}
		clear(row[d.prefix+from : d.prefix+lo])
		clear(row[d.prefix+rhi : d.prefix+to])
		inv[r] = 1 / sum
		if f.lse != nil {
			f.lse[(int(d.Start)+i)*a.Heads+u.h+h] = mx + float32(math.Log(float64(sum)))
		}
	}
	o := f.out[q*hd:]
	if a.ByDocument {
		f.documentValues(u, s, ld, o, stride, m, from, to)
	} else {
		f.values(u, s, ld, o, stride, m, from, to, part, page, lo > 0)
	}
	for r := range m {
		v.scale(inv[r], o[r*stride:][:hd])
	}
	scratchPool.Put(buf)
}

// at is where the rearranged keys of a unit's head begin.
func (f *attnForward) at(u attnUnit) int {
	return (u.h/(f.a.Heads/f.a.KVHeads)*f.total + u.d.off) * f.a.HeadDim
}

// scores computes s = q·kᵀ (unscaled) for m query rows, in the columns of the prefix and of keys [lo, hi) of the document. page is room for
// a page of the cache.
func (f *attnForward) scores(u attnUnit, s []float32, ld int, q []float32, ldq, m, lo, hi int, page []float32) {
	a, d, hd := f.a, u.d, f.a.HeadDim
	end := d.prefix
	if f.cache == nil {
		end += hi
	}
	a.scores(f.vec, s, ld, q, ldq, m, f.kt[f.at(u):], d.width(), d.prefix, lo, end)
	if f.cache == nil {
		return
	}
	first := int(d.Cache)
	for c := (first + lo) / CacheUnit * CacheUnit; c < first+hi; c += CacheUnit {
		at := max(c, first)
		n := min(c+CacheUnit-at, (first+hi-at+15)&^15) // what is behind hi is not read
		f.vec.mm(m, n, hd, q, ldq, 1, f.cache.keys(a, u.h, c, page)[at-c:], CacheUnit, s[d.prefix+at-first:], ld, false)
	}
}

// values computes o = s·v for m rows of s: the sum over the prefix and, chained to it, that over keys [from, to), of which whole groups are
// added. Where apart, it is a sum of its own, which is added.
func (f *attnForward) values(u attnUnit, s []float32, ld int, o []float32, stride, m, from, to int, part, page []float32, apart bool) {
	a, d, hd, v := f.a, u.d, f.a.HeadDim, f.vec
	vc := f.vc[f.at(u):]
	started := d.prefix > 0
	if started {
		v.mm(m, hd, d.prefix, s, ld, 1, vc, hd, o, stride, false)
	}
	sum, ldsum := o, stride
	if apart = apart && started; apart {
		sum, ldsum, started = part, hd, false
	}
	add := func(from, to int, x []float32) {
		if started {
			v.chain(m, hd, to-from, s[d.prefix+from:], ld, 1, x, hd, sum, ldsum)
			return
		}
		v.mm(m, hd, to-from, s[d.prefix+from:], ld, 1, x, hd, sum, ldsum, false)
		started = true
	}
	if f.cache == nil {
		add(from, to, vc[(d.prefix+from)*hd:])
	} else {
		first := int(d.Cache)
		for c := (first + from) / CacheUnit * CacheUnit; c < first+to; c += CacheUnit {
			lo := max(first+from, c)
			add(lo-first, min(first+to, c+CacheUnit)-first, f.cache.values(a, u.h, c, page)[(lo-c)*hd:])
		}
	}
	if apart {
		for r := range m {
			v.add(o[r*stride:][:hd], o[r*stride:][:hd], part[r*hd:][:hd])
		}
	}
}

// scoreStride is the distance of two rows of scores: no power of two, so that a column does not crowd one set of the cache.
func scoreStride(n int) int { return (n+15)/16*16 + 16 }

// scores computes s = q·kᵀ (unscaled) for m query rows and the keys before end that are rearranged, but for panels of keys that lie between
// the prefix and key lo.
func (a Attn) scores(v *vecSet, s []float32, ld int, q []float32, ldq, m int, kt []float32, width, prefix, lo, end int) {
	hd := a.HeadDim
	for c := 0; c < end; c += attnKeys {
		if c+attnKeys <= prefix+lo && c >= prefix {
			continue
		}
		v.mm(m, min(attnKeys, end-c), hd, q, ldq, 1, kt[c*hd:], width, s[c:], ld, false)
	}
}

// capScores applies the soft cap, if any, and returns the factor that the scores still have to be multiplied with.
func (a Attn) capScores(v *vecSet, s []float32, ld, m int, d *docKeys, lo, hi int) float32 {
	if a.SoftCap == 0 {
		return a.Scale
	}
	for r := 0; r < m; r++ {
		v.softcap(s[r*ld:][:d.prefix], a.Scale, a.SoftCap)
		v.softcap(s[r*ld+d.prefix+lo:r*ld+d.prefix+hi], a.Scale, a.SoftCap)
	}
	return 1
}

// attnSource finds the keys and values of a document that are rearranged: in its prefix and, where there is no cache, in the rows that
// precede it and in its own.
type attnSource struct {
	a                Attn
	prefixLen        int
	prefixK, prefixV []float32
	k, v             []float32
	cached           bool
}

// part is a run of rows, ld apart, of which a head takes HeadDim elements each: n keys from column at.
type attnPart struct {
	k, v  []float32
	n, at int
}

func (s *attnSource) parts(d *docKeys, kv int) [3]attnPart {
	hd := s.a.HeadDim
	w := s.a.KVHeads * hd
	var ps [3]attnPart
	if d.prefix > 0 {
		o := int(d.Slot)*s.prefixLen*w + kv*hd
		ps[0] = attnPart{s.prefixK[o:], s.prefixV[o:], d.prefix, 0}
	}
	if !s.cached {
		o := int(d.Start)*w + kv*hd
		ps[2] = attnPart{s.k[o:], s.v[o:], d.rows, d.prefix + int(d.Past)}
		if d.Past > 0 {
			o = int(d.Cache)*w + kv*hd
			ps[1] = attnPart{s.k[o:], s.v[o:], int(d.Past), d.prefix}
		}
	}
	return ps
}

func (s *attnSource) eachKey(d *docKeys, kv int, f func(j int, krow, vrow []float32)) {
	hd := s.a.HeadDim
	w := s.a.KVHeads * hd
	for _, p := range s.parts(d, kv) {
		for j := 0; j < p.n; j++ {
			f(p.at+j, p.k[j*w:][:hd], p.v[j*w:][:hd])
		}
	}
}

// transposed writes the document's keys (or values) as panels [HeadDim, width] of dst, the last one filled up with zeros. width is
// attnKeys, or less of a document that has one panel.
func (s *attnSource) transposed(d *docKeys, kv int, dst []float32, width int, values bool) {
	hd := s.a.HeadDim
	w := s.a.KVHeads * hd
	for _, p := range s.parts(d, kv) {
		x := p.k
		if values {
			x = p.v
		}
		for j := 0; j < p.n; {
			c := p.at + j
			col := c % attnKeys
			n := min(p.n-j, attnKeys-col)
			panel := dst[c/attnKeys*attnKeys*hd:][:width*hd]
			for e := 0; e < hd; e++ {
				o := panel[e*width+col:][:n]
				for i := range o {
					o[i] = x[(j+i)*w+e]
				}
			}
			j += n
		}
	}
	if col := d.held % attnKeys; col != 0 {
		panel := dst[d.held/attnKeys*attnKeys*hd:]
		for e := 0; e < hd; e++ {
			clear(panel[e*width+col : (e+1)*width])
		}
	}
}
