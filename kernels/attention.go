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
}

// Doc is one document of a packed batch. Attention never crosses documents.
type Doc struct {
	Start, End int32 // rows of q, k and v
	Past       int32 // rows of the cache that precede Start
	Slot       int32 // its prefix in prefixK and prefixV, or -1 for none
	Cache      int32 // where its rows of the cache begin, which several documents share
}

const (
	attnRows   = 64 // query rows in a block
	attnKeys   = 64 // keys in a panel of transposed keys
	decodeRows = 4  // documents of no more rows are answered without rearranging their keys
)

// docKeys are the sizes of a document as one key/value head sees it: its keys are prefix, cache and own rows, in this order.
type docKeys struct {
	Doc
	rows, prefix, n int
	off             int // where its rearranged keys begin, in keys
}

func (a Attn) check(name string, T int, docs []Doc, prefixLen int, cacheRows int) (ks []docKeys, total int) {
	if a.Heads <= 0 || a.KVHeads <= 0 || a.Heads%a.KVHeads != 0 || a.HeadDim <= 0 {
		panic(fmt.Sprintf("kernels: %s: %d heads, %d key/value heads of %d", name, a.Heads, a.KVHeads, a.HeadDim))
	}
	ks = make([]docKeys, 0, len(docs))
	for _, d := range docs {
		if d.Start < 0 || d.End < d.Start || int(d.End) > T || d.Past < 0 || d.Cache < 0 || int(d.Cache)+int(d.Past) > cacheRows {
			panic(fmt.Sprintf("kernels: %s: document %+v of %d rows, %d in the cache", name, d, T, cacheRows))
		}
		k := docKeys{Doc: d, rows: int(d.End - d.Start), off: total}
		if d.Slot >= 0 {
			k.prefix = prefixLen
		}
		k.n = k.prefix + int(d.Past) + k.rows
		if k.rows > 0 {
			ks = append(ks, k)
		}
		if k.rows > decodeRows {
			total += (k.n + attnKeys - 1) / attnKeys * attnKeys
		}
	}
	return ks, total
}

// span gives the keys that block rows [i0, i1) of the document can see: keys [lo, hi) besides the prefix, counted from the
// first of the cache.
func (a Attn) span(d *docKeys, i0, i1 int) (lo, hi int) {
	if a.Window > 0 {
		lo = max(0, int(d.Past)+i0-a.Window+1)
	}
	return lo, int(d.Past) + i1
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
// them as past positions). cacheK and cacheV [capacity, KVHeads·HeadDim] hold, from row Cache, the Past rows that precede a document; the
// caller appends the new ones.
func (a Attn) Forward(p *pool.Pool, out, lse, q, k, v []float32, docs []Doc, prefixK, prefixV []float32, prefixLen int, cacheK,
	cacheV []float32) {
	H, KV, hd := a.Heads, a.KVHeads, a.HeadDim
	T := len(q) / (H * hd)
	needRows("Attn.Forward", T, H*hd, out)
	ks, total := a.check("Attn.Forward", min(T, len(k)/(KV*hd), len(v)/(KV*hd)), docs, prefixLen, min(len(cacheK), len(cacheV))/(KV*hd))
	f := &attnForward{a: a, vec: vec(), out: out, lse: lse, q: q,
		src: attnSource{a, prefixLen, prefixK, prefixV, cacheK, cacheV, k, v}, total: total}

	// Keys in transposed panels and values in rows, [KVHeads, total, HeadDim] each.
	buf := idleKeys.get(8 * KV * total * hd)
	defer idleKeys.put(buf)
	f.kt, f.vc = buf.Float32()[:KV*total*hd], buf.Float32()[KV*total*hd:]
	type task struct{ doc, head, i0 int }
	var tasks []task
	// Of a document of few rows a task takes all heads where the documents are enough for all threads.
	step, few := 1, 0
	for i := range ks {
		if ks[i].rows <= decodeRows {
			few++
		}
	}
	if few >= 2*p.Threads() {
		step = H
	}
	for i := range ks {
		if ks[i].rows <= decodeRows {
			for h := 0; h < H; h += step {
				tasks = append(tasks, task{i, h, 0})
			}
			continue
		}
		for h := 0; h < H; h++ {
			for i0 := 0; i0 < ks[i].rows; i0 += attnRows {
				tasks = append(tasks, task{i, h, i0})
			}
		}
	}
	p.Run(len(ks)*KV, func(i int) {
		d, kv := &ks[i/KV], i%KV
		if d.rows <= decodeRows {
			return
		}
		at := (kv*total + d.off) * hd
		f.src.eachKey(d, kv, func(j int, krow, vrow []float32) {
			copy(f.vc[at+j*hd:][:hd], vrow)
		})
		f.src.transposed(d, kv, f.kt[at:], false)
	})
	p.Run(len(tasks), func(i int) {
		t := tasks[i]
		d := &ks[t.doc]
		if d.rows <= decodeRows {
			for r := 0; r < d.rows; r++ {
				f.decode(d, t.head, t.head+step, r)
			}
			return
		}
		f.block(d, t.head, t.i0, min(d.rows, t.i0+attnRows))
	})
}

type attnForward struct {
	a           Attn
	vec         *vecSet
	out, lse, q []float32
	src         attnSource
	kt, vc      []float32
	total       int
}

// block computes rows [i0, i1) of a document for one query head: all scores, their softmax, then the weighted sum of values.
func (f *attnForward) block(d *docKeys, h, i0, i1 int) {
	a, hd, v := f.a, f.a.HeadDim, f.vec
	m := i1 - i0
	lo, hi := a.span(d, i0, i1)
	at := (h/(a.Heads/a.KVHeads)*f.total + d.off) * hd
	kt, vc := f.kt[at:], f.vc[at:]
	ld := scoreStride(d.n)
	buf := scratchOf(m * ld)
	s := buf.x
	a.scores(v, s, ld, f.q[(int(d.Start)+i0)*a.Heads*hd+h*hd:], a.Heads*hd, m, kt, d, lo, hi)
	scale := a.capScores(v, s, ld, m, d, lo, hi)
	end := d.prefix + hi
	var inv [attnRows]float32
	for r := 0; r < m; r++ {
		row := s[r*ld:][:end]
		rlo, rhi := a.span(d, i0+r, i0+r+1)
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
		clear(row[d.prefix+rhi:])
		inv[r] = 1 / sum
		if f.lse != nil {
			f.lse[(int(d.Start)+i0+r)*a.Heads+h] = mx + float32(math.Log(float64(sum)))
		}
	}
	o := f.out[(int(d.Start)+i0)*a.Heads*hd+h*hd:]
	if lo == 0 {
		v.mm(m, hd, end, s, ld, 1, vc, hd, o, a.Heads*hd, false)
	} else {
		v.mm(m, hd, d.prefix, s, ld, 1, vc, hd, o, a.Heads*hd, false)
		v.mm(m, hd, hi-lo, s[d.prefix+lo:], ld, 1, vc[(d.prefix+lo)*hd:], hd, o, a.Heads*hd, true)
	}
	for r := 0; r < m; r++ {
		v.scale(inv[r], o[r*a.Heads*hd:][:hd])
	}
	scratchPool.Put(buf)
}

// scoreStride is the distance of two rows of scores: no power of two, so that a column does not crowd one set of the cache.
func scoreStride(n int) int { return (n+15)/16*16 + 16 }

// scores computes s = q·kᵀ (unscaled) for m query rows, in the columns of the prefix and of keys [lo, hi) of the document.
func (a Attn) scores(v *vecSet, s []float32, ld int, q []float32, ldq, m int, kt []float32, d *docKeys, lo, hi int) {
	hd := a.HeadDim
	end := d.prefix + hi
	for c := 0; c < end; c += attnKeys {
		if c+attnKeys <= d.prefix+lo && c >= d.prefix {
			continue
		}
		v.mm(m, min(attnKeys, end-c), hd, q, ldq, 1, kt[c*hd:], attnKeys, s[c:], ld, false)
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

// decode computes row r of a document of few rows for the query heads [h0, h1), straight from where the keys and values are. Heads take
// turns at each run of keys, so that rows of the cache are read once, in order.
func (f *attnForward) decode(d *docKeys, h0, h1, r int) {
	a, hd, v := f.a, f.a.HeadDim, f.vec
	at := (int(d.Start)+r)*a.Heads + h0 // of the first head in lse, and times hd in q and out
	lo, hi := a.span(d, r, r+1)
	n, heads := d.prefix+hi, h1-h0
	buf := scratchOf(heads * (n + 1))
	s, inv := buf.x[:heads*n], buf.x[heads*n:][:heads]
	f.eachRun(d, h0, h1, n, func(h, j int, ks, _ []float32, w, rows int) {
		q, x := f.q[(at+h)*hd:][:hd], s[h*n+j:][:rows]
		for i := range x {
			if key := j + i; key >= d.prefix && key < d.prefix+lo {
				x[i] = float32(math.Inf(-1))
			} else {
				x[i] = v.dot(q, ks[i*w:][:hd])
			}
		}
	})
	o := f.out[at*hd:][:heads*hd]
	clear(o)
	scale := a.Scale
	if a.SoftCap != 0 {
		scale = 1
	}
	for h := range heads {
		x := s[h*n:][:n]
		if a.SoftCap != 0 {
			v.softcap(x[:d.prefix], a.Scale, a.SoftCap)
			v.softcap(x[d.prefix+lo:], a.Scale, a.SoftCap)
		}
		mx := v.max(x) * scale
		sum := v.exp(x, scale, mx)
		inv[h] = 1 / sum
		if f.lse != nil {
			f.lse[at+h] = mx + float32(math.Log(float64(sum)))
		}
	}
	f.eachRun(d, h0, h1, n, func(h, j int, _, vs []float32, w, rows int) {
		o := o[h*hd:][:hd]
		for i, p := range s[h*n+j:][:rows] {
			if p != 0 {
				v.axpy(p, vs[i*w:][:hd], o)
			}
		}
	})
	for h := range heads {
		v.scale(inv[h], o[h*hd:][:hd])
	}
	scratchPool.Put(buf)
}

// eachRun calls act for runs of the first n keys and each of the query heads [h0, h1), counted from 0: with the run's first key, its keys
// and values of that head, which lie w apart, and their number.
func (f *attnForward) eachRun(d *docKeys, h0, h1, n int, act func(h, j int, ks, vs []float32, w, rows int)) {
	group, hd, w := f.a.Heads/f.a.KVHeads, f.a.HeadDim, f.a.KVHeads*f.a.HeadDim
	run := 64 // of one head; several take a row together, which is read ahead
	if h1-h0 > 1 {
		run = 2
	}
	for _, p := range f.src.parts(d, 0) {
		for j := 0; j < min(p.n, n-p.at); j += run {
			rows := min(run, p.n-j, n-p.at-j)
			for h := h0; h < h1; h++ {
				at := j*w + h/group*hd
				act(h-h0, p.at+j, p.k[at:], p.v[at:], w, rows)
			}
		}
	}
}

// attnSource finds the keys and values of a document: in its prefix, in the cache and in its own rows.
type attnSource struct {
	a                Attn
	prefixLen        int
	prefixK, prefixV []float32
	cacheK, cacheV   []float32
	k, v             []float32
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
	if d.Past > 0 {
		o := int(d.Cache)*w + kv*hd
		ps[1] = attnPart{s.cacheK[o:], s.cacheV[o:], int(d.Past), d.prefix}
	}
	o := int(d.Start)*w + kv*hd
	ps[2] = attnPart{s.k[o:], s.v[o:], d.rows, d.prefix + int(d.Past)}
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

// transposed writes the document's keys (or values) as panels [HeadDim, attnKeys] of dst, the last one filled up with zeros.
func (s *attnSource) transposed(d *docKeys, kv int, dst []float32, values bool) {
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
			panel := dst[c/attnKeys*attnKeys*hd:][:attnKeys*hd]
			for e := 0; e < hd; e++ {
				o := panel[e*attnKeys+col:][:n]
				for i := range o {
					o[i] = x[(j+i)*w+e]
				}
			}
			j += n
		}
	}
	if col := d.n % attnKeys; col != 0 {
		panel := dst[d.n/attnKeys*attnKeys*hd:]
		for e := 0; e < hd; e++ {
			clear(panel[e*attnKeys+col : (e+1)*attnKeys])
		}
	}
}
