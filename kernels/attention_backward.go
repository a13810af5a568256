package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// BackwardScratch is how many float32 values Backward wants as scratch for documents of up to maxRows rows and a pool of threads.
func (a Attn) BackwardScratch(maxRows int, threads int) int { return 0 }

// Backward adds to dq, dk, dv, dprefixK and dprefixV the gradients of Forward for the gradient dout of its result; out and lse
// are what it gave. The probabilities are computed again from lse (Dao, FlashAttention-2, 2023). Documents with rows in a
// cache have no backward pass; those that go on from rows of another give these their gradients. dprefixK and dprefixV may be nil; dk
// and dv may be nil together, and so may dq. scratch may be nil.
//
// Each document and key/value head is summed by one goroutine in a fixed order, and what documents give to a shared
// prefix, or to rows that they go on from, is added in their order, so the result does not depend on the number of threads.
func (a Attn) Backward(p *pool.Pool, dq, dk, dv, dprefixK, dprefixV, dout, q, k, v, out, lse []float32, docs []Doc, prefixK,
	prefixV []float32, prefixLen int, scratch []float32) {
	H, KV, hd := a.Heads, a.KVHeads, a.HeadDim
	T := len(q) / (H * hd)
	needRows("Attn.Backward", T, H*hd, dout, out)
	needRows("Attn.Backward", T, H, lse)
	ks, _ := a.check("Attn.Backward", min(T, len(k)/(KV*hd), len(v)/(KV*hd)), docs, prefixLen, nil)
	b := &attnBackward{a: a, vec: vec(), dq: dq, dk: dk, dv: dv, dout: dout, q: q, out: out, lse: lse,
		src: attnSource{a: a, prefixLen: prefixLen, prefixK: prefixK, prefixV: prefixV, k: k, v: v}}
	w := KV * hd
	var pre *scratchBuf
	if prefixLen > 0 && dprefixK != nil {
		pre = scratchOf(2 * len(ks) * prefixLen * w)
		b.preK, b.preV = pre.x[:len(ks)*prefixLen*w], pre.x[len(ks)*prefixLen*w:]
	}
	past := b.sharedRoom(ks, w)
	p.Run(len(ks)*KV, func(i int) { b.head(ks, i/KV, i%KV) })
	if past != nil {
		p.Run(KV, func(kv int) { b.addShared(ks, kv) })
		scratchPool.Put(past)
	}
	if pre == nil {
		return
	}
	for i := range ks {
		if d := &ks[i]; d.prefix > 0 {
			n := d.prefix * w
			b.vec.add(dprefixK[int(d.Slot)*n:][:n], dprefixK[int(d.Slot)*n:][:n], b.preK[i*n:][:n])
			b.vec.add(dprefixV[int(d.Slot)*n:][:n], dprefixV[int(d.Slot)*n:][:n], b.preV[i*n:][:n])
		}
	}
	scratchPool.Put(pre)
}

type attnBackward struct {
	a                 Attn
	vec               *vecSet
	dq, dk, dv        []float32
	dout, q, out, lse []float32
	preK, preV        []float32 // [documents, prefixLen, KVHeads·HeadDim]
	pastK, pastV      []float32 // [rows that documents go on from, KVHeads·HeadDim], document after document from pastAt on
	pastAt            []int
	src               attnSource
}

// sharedRoom makes room for the gradients of the rows that documents go on from; nil where none does.
func (b *attnBackward) sharedRoom(ks []docKeys, w int) *scratchBuf {
	n := 0
	for i := range ks {
		b.pastAt = append(b.pastAt, n)
		n += int(ks[i].Past)
	}
	if n == 0 {
		return nil
	}
	buf := scratchOf(2 * n * w)
	b.pastK, b.pastV = buf.x[:n*w], buf.x[n*w:2*n*w]
	return buf
}

// addShared adds what documents give to the rows that they go on from, for one key/value head, in the order of the documents.
func (b *attnBackward) addShared(ks []docKeys, kv int) {
	hd := b.a.HeadDim
	w := b.a.KVHeads * hd
	for i := range ks {
		for j := range int(ks[i].Past) {
			from, to := (b.pastAt[i]+j)*w+kv*hd, (int(ks[i].Cache)+j)*w+kv*hd
			if b.dk != nil {
				b.vec.add(b.dk[to:][:hd], b.dk[to:][:hd], b.pastK[from:][:hd])
			}
			if b.dv != nil {
				b.vec.add(b.dv[to:][:hd], b.dv[to:][:hd], b.pastV[from:][:hd])
			}
		}
	}
}

// head computes the gradients of one document and key/value head, all query heads of its group in order.
func (b *attnBackward) head(ks []docKeys, di, kv int) {
	a, hd, v, d := b.a, b.a.HeadDim, b.vec, &ks[di]
	w, wq := a.KVHeads*hd, a.Heads*hd
	np := (d.n + attnKeys - 1) / attnKeys * attnKeys * hd
	ld := scoreStride(d.n)
	buf := scratchOf(5*np + 4*attnRows*hd + 2*attnRows*ld)
	rest := buf.x
	take := func(n int) (x []float32) { x, rest = rest[:n], rest[n:]; return x }
	kt, vt, kc, gk, gv := take(np), take(np), take(np), take(np), take(np)
	qb, ob, gq := take(attnRows*hd), take(attnRows*hd), take(attnRows*hd)
	s, ds := take(attnRows*ld), take(attnRows*ld)
	b.src.transposed(d, kv, kt, attnKeys, false)
	b.src.transposed(d, kv, vt, attnKeys, true)
	b.src.eachKey(d, kv, func(j int, krow, _ []float32) { copy(kc[j*hd:][:hd], krow) })
	clear(gk[:d.n*hd])
	clear(gv[:d.n*hd])
	group := a.Heads / a.KVHeads
	for h := kv * group; h < (kv+1)*group; h++ {
		for i0, i1 := 0, 0; i0 < d.rows; i0 = i1 {
			i1 = min(d.rows, (int(d.Past)+i0)/attnRows*attnRows+attnRows-int(d.Past))
			m := i1 - i0
			lo, hi := a.span(d, i0, i1)
			row0 := int(d.Start) + i0
			for r := 0; r < m; r++ {
				copy(qb[r*hd:][:hd], b.q[(row0+r)*wq+h*hd:])
				copy(ob[r*hd:][:hd], b.dout[(row0+r)*wq+h*hd:])
			}
			a.scores(v, s, ld, qb, hd, m, kt, attnKeys, d.prefix, lo, d.prefix+hi)
			scale := a.capScores(v, s, ld, m, d, lo, hi)
			a.scores(v, ds, ld, ob, hd, m, vt, attnKeys, d.prefix, lo, d.prefix+hi)
			for r := 0; r < m; r++ {
				rlo, rhi := a.sees(d, i0+r)
				delta := v.dot(ob[r*hd:][:hd], b.out[(row0+r)*wq+h*hd:][:hd])
				l := b.lse[(row0+r)*a.Heads+h]
				sr, dr := s[r*ld:][:d.prefix+hi], ds[r*ld:][:d.prefix+hi]
				if lo == 0 && rlo == 0 {
					b.row(sr[:d.prefix+rhi], dr[:d.prefix+rhi], scale, l, delta)
				} else {
					b.row(sr[:d.prefix], dr[:d.prefix], scale, l, delta)
					clear(sr[d.prefix+lo : d.prefix+rlo])
					clear(dr[d.prefix+lo : d.prefix+rlo])
					b.row(sr[d.prefix+rlo:d.prefix+rhi], dr[d.prefix+rlo:d.prefix+rhi], scale, l, delta)
				}
				clear(sr[d.prefix+rhi:])
				clear(dr[d.prefix+rhi:])
			}
			grads := func(c, n int, first bool) {
				if n == 0 {
					return
				}
				v.mm(n, hd, m, s[c:], 1, ld, ob, hd, gv[c*hd:], hd, true)
				v.mm(n, hd, m, ds[c:], 1, ld, qb, hd, gk[c*hd:], hd, true)
				v.mm(m, hd, n, ds[c:], ld, 1, kc[c*hd:], hd, gq, hd, !first)
			}
			if lo == 0 {
				grads(0, d.prefix+hi, true)
			} else {
				grads(0, d.prefix, true)
				grads(d.prefix+lo, hi-lo, d.prefix == 0)
			}
			if b.dq != nil {
				for r := 0; r < m; r++ {
					o := b.dq[(row0+r)*wq+h*hd:][:hd]
					v.add(o, o, gq[r*hd:][:hd])
				}
			}
		}
	}
	for j := 0; j < d.n; j++ {
		gkr, gvr := gk[j*hd:][:hd], gv[j*hd:][:hd]
		if j < d.prefix {
			if b.preK != nil {
				o := (di*d.prefix+j)*w + kv*hd
				copy(b.preK[o:][:hd], gkr)
				copy(b.preV[o:][:hd], gvr)
			}
			continue
		}
		if past := j - d.prefix; past < int(d.Past) {
			o := (b.pastAt[di]+past)*w + kv*hd
			copy(b.pastK[o:][:hd], gkr)
			copy(b.pastV[o:][:hd], gvr)
			continue
		}
		o := (int(d.Start)+j-d.prefix-int(d.Past))*w + kv*hd
		if b.dk != nil {
			v.add(b.dk[o:][:hd], b.dk[o:][:hd], gkr)
		}
		if b.dv != nil {
			v.add(b.dv[o:][:hd], b.dv[o:][:hd], gvr)
		}
	}
	scratchPool.Put(buf)
}

// row turns scores s into probabilities and their gradients ds into those of q·kᵀ.
func (b *attnBackward) row(s, ds []float32, scale, lse, delta float32) {
	if len(s) == 0 {
		return
	}
	if c := b.a.SoftCap; c != 0 {
		for i := range ds {
			ds[i] -= delta
		}
		softcapBack(ds, s, c)
		delta = 0
	}
	b.vec.exp(s, scale, lse)
	b.vec.dsoft(ds, s, delta, b.a.Scale)
}
