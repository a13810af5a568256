package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/pool"
)

func randn(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func maxDiff(a []float32, b []float64) float64 {
	m := 0.0
	for i := range a {
		d := math.Abs(float64(a[i]) - b[i])
		if d != d || d > m {
			m = d
		}
	}
	return m
}

// attnRef is attention and its gradients in float64, key by key.
func attnRef(a Attn, q, k, v, dout []float32, docs []Doc, prefixK, prefixV []float32, P int, cacheK, cacheV []float32) (out, lse, dq, dk,
	dv, dpk, dpv []float64) {
	H, KV, hd := a.Heads, a.KVHeads, a.HeadDim
	T := len(q) / (H * hd)
	out, lse, dq = make([]float64, T*H*hd), make([]float64, T*H), make([]float64, T*H*hd)
	dk, dv = make([]float64, len(k)), make([]float64, len(v))
	dpk, dpv = make([]float64, len(prefixK)), make([]float64, len(prefixV))
	type ref struct {
		k, v   []float32
		gk, gv []float64
		o      int
	}
	for _, d := range docs {
		for i := int(d.Start); i < int(d.End); i++ {
			for h := 0; h < H; h++ {
				kv := h / (H / KV)
				var keys []ref
				if d.Slot >= 0 {
					for j := 0; j < P; j++ {
						keys = append(keys, ref{prefixK, prefixV, dpk, dpv, ((int(d.Slot)*P+j)*KV + kv) * hd})
					}
				}
				at := int(d.Past) + i - int(d.Start)
				for j := 0; j <= at; j++ {
					if a.Window > 0 && at-j >= a.Window {
						continue
					}
					if j < int(d.Past) {
						keys = append(keys, ref{cacheK, cacheV, nil, nil, ((int(d.Cache)+j)*KV + kv) * hd})
					} else {
						keys = append(keys, ref{k, v, dk, dv, ((int(d.Start)+j-int(d.Past))*KV + kv) * hd})
					}
				}
				s, raw := make([]float64, len(keys)), make([]float64, len(keys))
				mx := math.Inf(-1)
				qi := q[(i*H+h)*hd:][:hd]
				for n, key := range keys {
					for e := range hd {
						s[n] += float64(qi[e]) * float64(key.k[key.o+e])
					}
					s[n] *= float64(a.Scale)
					raw[n] = 1
					if a.SoftCap != 0 {
						t := math.Tanh(s[n] / float64(a.SoftCap))
						s[n], raw[n] = t*float64(a.SoftCap), 1-t*t
					}
					mx = math.Max(mx, s[n])
				}
				sum := 0.0
				for _, x := range s {
					sum += math.Exp(x - mx)
				}
				lse[i*H+h] = mx + math.Log(sum)
				var dot float64
				dp := make([]float64, len(keys))
				for n, key := range keys {
					s[n] = math.Exp(s[n] - lse[i*H+h])
					for e := range hd {
						out[(i*H+h)*hd+e] += s[n] * float64(key.v[key.o+e])
						if dout != nil {
							dp[n] += float64(dout[(i*H+h)*hd+e]) * float64(key.v[key.o+e])
						}
					}
					dot += s[n] * dp[n]
				}
				if dout == nil {
					continue
				}
				for n, key := range keys {
					ds := s[n] * (dp[n] - dot) * raw[n] * float64(a.Scale)
					for e := range hd {
						key.gv[key.o+e] += s[n] * float64(dout[(i*H+h)*hd+e])
						key.gk[key.o+e] += ds * float64(qi[e])
						dq[(i*H+h)*hd+e] += ds * float64(key.k[key.o+e])
					}
				}
			}
		}
	}
	return
}

type attnCase struct {
	a     Attn
	docs  []Doc
	slots int
	P     int
}

func attnCases() []attnCase {
	one := func(n int32) []Doc { return []Doc{{0, n, 0, -1, 0}} }
	mk := func(h, kv, hd, win int, cap float32) Attn {
		return Attn{Heads: h, KVHeads: kv, HeadDim: hd, Scale: float32(1 / math.Sqrt(float64(hd))), Window: win, SoftCap: cap}
	}
	return []attnCase{
		{mk(1, 1, 4, 0, 0), one(1), 0, 0},
		{mk(2, 2, 8, 0, 0), one(9), 0, 0},
		{mk(6, 2, 20, 0, 0), []Doc{{0, 65, 0, -1, 0}, {65, 68, 0, -1, 0}, {68, 200, 0, -1, 0}}, 0, 0},
		{mk(3, 1, 64, 0, 0), []Doc{{0, 130, 0, -1, 0}, {133, 150, 0, -1, 0}}, 0, 0},
		{mk(2, 1, 16, 7, 0), []Doc{{0, 150, 0, -1, 0}, {150, 153, 0, -1, 0}}, 0, 0},
		{mk(4, 2, 16, 90, 3), []Doc{{0, 200, 0, -1, 0}}, 0, 0},
		{mk(4, 2, 16, 0, 0), []Doc{{0, 70, 0, 0, 0}, {70, 90, 0, 1, 0}, {90, 100, 0, -1, 0}, {100, 103, 0, 0, 0}, {103, 110, 0, 0, 0}},
			2, 5},
		{mk(4, 2, 16, 10, 5), []Doc{{0, 170, 0, 0, 0}, {170, 190, 0, 0, 0}}, 1, 3},
		{mk(2, 2, 80, 0, 0), one(100), 0, 0},
	}
}

func TestAttention(t *testing.T) {
	for _, set := range sets() {
		for i, c := range attnCases() {
			t.Run(fmt.Sprintf("%s/%d", set.name, i), func(t *testing.T) {
				set.use(t)
				r := rand.New(rand.NewPCG(1, uint64(i)))
				H, KV, hd := c.a.Heads, c.a.KVHeads, c.a.HeadDim
				T := int(c.docs[len(c.docs)-1].End)
				q, k, v, dout := randn(r, T*H*hd), randn(r, T*KV*hd), randn(r, T*KV*hd), randn(r, T*H*hd)
				pk, pv := randn(r, c.slots*c.P*KV*hd), randn(r, c.slots*c.P*KV*hd)
				ro, rl, rdq, rdk, rdv, rpk, rpv := attnRef(c.a, q, k, v, dout, c.docs, pk, pv, c.P, nil, nil)
				var first [][]float32
				for _, threads := range []int{1, 3} {
					p := pool.New(threads)
					defer p.Close()
					out, lse := make([]float32, len(q)), make([]float32, T*H)
					c.a.Forward(p, out, lse, q, k, v, c.docs, pk, pv, c.P, nil)
					dq, dk, dv, dpk, dpv := make([]float32, len(q)), make([]float32, len(k)), make([]float32, len(v)),
						make([]float32, len(pk)), make([]float32, len(pv))
					c.a.Backward(p, dq, dk, dv, dpk, dpv, dout, q, k, v, out, lse, c.docs, pk, pv, c.P, nil)
					got := [][]float32{out, lse, dq, dk, dv, dpk, dpv}
					for j, want := range [][]float64{ro, rl, rdq, rdk, rdv, rpk, rpv} {
						tol := 2e-6
						if j >= 2 {
							tol = 3e-5
						}
						if d := maxDiff(got[j], want); !(d <= tol) {
							t.Errorf("result %d differs by %g", j, d)
						}
					}
					if first == nil {
						first = got
						continue
					}
					for j := range got {
						sameBits(t, fmt.Sprintf("result %d with 1 and 3 threads", j), got[j], first[j])
					}
				}
			})
		}
	}
}

func sameBits(t *testing.T, what string, a, b []float32) {
	t.Helper()
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			t.Fatalf("%s: element %d is %v and %v", what, i, a[i], b[i])
		}
	}
}

func TestAttentionPackedEqualsSeparate(t *testing.T) {
	for _, set := range sets() {
		set.use(t)
		a := Attn{Heads: 6, KVHeads: 3, HeadDim: 32, Scale: 0.2}
		r := rand.New(rand.NewPCG(2, 2))
		lens := []int{70, 3, 129, 64, 1}
		var docs []Doc
		T := 0
		for _, n := range lens {
			docs = append(docs, Doc{int32(T), int32(T + n), 0, -1, 0})
			T += n
		}
		wq, wk := 6*32, 3*32
		q, k, v, dout := randn(r, T*wq), randn(r, T*wk), randn(r, T*wk), randn(r, T*wq)
		run := func(q, k, v, dout []float32, docs []Doc) [5][]float32 {
			out, lse := make([]float32, len(q)), make([]float32, len(q)/32)
			a.Forward(nil, out, lse, q, k, v, docs, nil, nil, 0, nil)
			dq, dk, dv := make([]float32, len(q)), make([]float32, len(k)), make([]float32, len(v))
			a.Backward(nil, dq, dk, dv, nil, nil, dout, q, k, v, out, lse, docs, nil, nil, 0, nil)
			return [5][]float32{out, lse, dq, dk, dv}
		}
		all := run(q, k, v, dout, docs)
		for _, d := range docs {
			s, e := int(d.Start), int(d.End)
			one := run(q[s*wq:e*wq], k[s*wk:e*wk], v[s*wk:e*wk], dout[s*wq:e*wq], []Doc{{0, int32(e - s), 0, -1, 0}})
			for j, w := range []int{wq, 6, wq, wk, wk} {
				sameBits(t, fmt.Sprintf("%s: document %d, result %d", set.name, s, j), all[j][s*w:e*w], one[j])
			}
		}
	}
}

// newCache is a cache of so many rows, full of what must not be read.
func newCache(a Attn, rows int, half bool) *KVCache {
	n := a.CacheLen(rows)
	if half {
		c := &KVCache{KHalf: make([]uint16, n), VHalf: make([]uint16, n)}
		for i := range n {
			c.KHalf[i], c.VHalf[i] = 0x7fc0, 0x7fc0 // NaN
		}
		return c
	}
	c := &KVCache{K: make([]float32, n), V: make([]float32, n)}
	for i := range n {
		c.K[i], c.V[i] = float32(math.NaN()), float32(math.NaN())
	}
	return c
}

// TestAttentionInChunks holds attention to the contract of bits: a row's result and log-sum-exp are the same whether its document comes at
// once, as in training, or in pieces with a cache, whatever the pieces, beside whatever else, with one thread or two. A cache in bfloat16
// gives what attention over rounded keys and values gives.
func TestAttentionInChunks(t *testing.T) {
	two := pool.New(2)
	defer two.Close()
	for _, set := range sets() {
		for round := range 24 {
			t.Run(fmt.Sprintf("%s/%d", set.name, round), func(t *testing.T) {
				set.use(t)
				r := rand.New(rand.NewPCG(3, uint64(round)))
				kv, hd := 1+r.IntN(3), 4*(1+r.IntN(10))
				if r.IntN(4) == 0 {
					hd = 1 + r.IntN(40)
				}
				a := Attn{Heads: kv * (1 + r.IntN(3)), KVHeads: kv, HeadDim: hd, Scale: 0.25}
				if round%3 == 1 {
					a.Window = 1 + r.IntN(100)
				}
				if round%4 == 2 {
					a.SoftCap = 3
				}
				P, half := 0, round%2 == 1
				if round%5 > 2 {
					P = 1 + r.IntN(9)
				}
				holdAttention(t, r, a, P, half, two)
			})
		}
	}
}

func holdAttention(t *testing.T, r *rand.Rand, a Attn, P int, half bool, two *pool.Pool) {
	const docs = 3
	wq, wk := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	pk, pv := randn(r, P*wk), randn(r, P*wk)
	slot := int32(-1)
	if P > 0 {
		slot = 0
	}
	var q, k, v, out, lse [docs][]float32
	var n, at [docs]int
	for i := range docs {
		n[i] = 1 + r.IntN([]int{8, 70, 230}[r.IntN(3)])
		q[i], k[i], v[i] = randn(r, n[i]*wq), randn(r, n[i]*wk), randn(r, n[i]*wk)
		out[i], lse[i] = make([]float32, n[i]*wq), make([]float32, n[i]*a.Heads)
		ks, vs := slices.Clone(k[i]), slices.Clone(v[i])
		if half {
			RoundBF16(nil, ks)
			RoundBF16(nil, vs)
		}
		a.Forward(nil, out[i], lse[i], q[i], ks, vs, []Doc{{0, int32(n[i]), 0, slot, 0}}, pk, pv, P, nil)
	}
	cache := newCache(a, docs*256, half)
	for live := docs; live > 0; {
		var ds []Doc
		var from []int
		var qs, ks, vs []float32
		for _, i := range r.Perm(docs) {
			m := min([]int{1, 1, 2, 4, 5, 40, 64, 100}[r.IntN(8)], n[i]-at[i])
			if m == 0 || r.IntN(3) == 0 {
				continue
			}
			start := len(qs) / wq
			qs = append(qs, q[i][at[i]*wq:(at[i]+m)*wq]...)
			ks = append(ks, k[i][at[i]*wk:(at[i]+m)*wk]...)
			vs = append(vs, v[i][at[i]*wk:(at[i]+m)*wk]...)
			ds, from = append(ds, Doc{int32(start), int32(start + m), int32(at[i]), slot, []int32{0, 236, 512}[i]}), append(from, i)
		}
		got, gotLSE := make([]float32, len(qs)), make([]float32, len(qs)/a.HeadDim)
		p := two
		if r.IntN(2) == 0 {
			p = nil
		}
		a.Forward(p, got, gotLSE, qs, ks, vs, ds, pk, pv, P, cache)
		for j, d := range ds {
			i, s, m := from[j], int(d.Start), int(d.End-d.Start)
			what := fmt.Sprintf("%+v, prefix %d, bfloat16 %v, document of %d: rows %d to %d", a, P, half, n[i], at[i], at[i]+m)
			sameBits(t, what, got[s*wq:(s+m)*wq], out[i][at[i]*wq:])
			sameBits(t, what, gotLSE[s*a.Heads:(s+m)*a.Heads], lse[i][at[i]*a.Heads:])
			if at[i] += m; at[i] == n[i] {
				live--
			}
		}
	}
}

// TestAttentionOfPrefix: what a row sees does not depend on the rows behind it.
func TestAttentionOfPrefix(t *testing.T) {
	for _, set := range sets() {
		set.use(t)
		r := rand.New(rand.NewPCG(3, 9))
		for range 20 {
			a := Attn{Heads: 2, KVHeads: 1, HeadDim: 1 + r.IntN(30), Scale: 0.25, Window: 40 * r.IntN(3)}
			n, wq := 1+r.IntN(150), 2*a.HeadDim
			q, k, v := randn(r, n*wq), randn(r, n*a.HeadDim), randn(r, n*a.HeadDim)
			whole := make([]float32, n*wq)
			a.Forward(nil, whole, nil, q, k, v, []Doc{{0, int32(n), 0, -1, 0}}, nil, nil, 0, nil)
			m := 1 + r.IntN(n)
			got := make([]float32, m*wq)
			a.Forward(nil, got, nil, q[:m*wq], k, v, []Doc{{0, int32(m), 0, -1, 0}}, nil, nil, 0, nil)
			sameBits(t, fmt.Sprintf("%s: %d rows of %d, %+v", set.name, m, n, a), got, whole)
		}
	}
}

func FuzzAttention(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2), uint8(1), uint8(8), uint8(0), uint8(0), uint8(0))
	f.Add(uint64(2), uint8(130), uint8(4), uint8(2), uint8(33), uint8(9), uint8(4), uint8(1))
	f.Add(uint64(3), uint8(77), uint8(6), uint8(3), uint8(64), uint8(70), uint8(2), uint8(70))
	f.Fuzz(func(t *testing.T, seed uint64, n, heads, kv, hd, window, prefix, past uint8) {
		T, KV, P := int(n%140)+1, int(kv%3)+1, int(prefix%7)
		a := Attn{Heads: KV * (int(heads%3) + 1), KVHeads: KV, HeadDim: int(hd%70) + 1, Scale: 0.1, Window: int(window)}
		wq, wk := a.Heads*a.HeadDim, KV*a.HeadDim
		r := rand.New(rand.NewPCG(seed, 0))
		cut := r.IntN(T + 1)
		more := int(seed % 7) // rows of the second document, after those of the first
		const second = 448    // where the cache has the second document's rows
		docs := []Doc{{0, int32(cut), int32(past), 0, 0}, {int32(cut), int32(T), int32(more), -1, second}}
		q, k, v := randn(r, T*wq), randn(r, T*wk), randn(r, T*wk)
		pk, pv, ck, cv := randn(r, P*wk), randn(r, P*wk), randn(r, (second+more)*wk), randn(r, (second+more)*wk)
		want, _, _, _, _, _, _ := attnRef(a, q, k, v, nil, docs, pk, pv, P, ck, cv)
		for _, set := range sets() {
			set.use(t)
			got := make([]float32, len(q))
			cache := newCache(a, second+more+T, false)
			before := []Doc{{0, int32(past), 0, -1, 0}, {second, int32(second + more), 0, -1, second}}
			a.Forward(nil, make([]float32, (second+more)*wq), nil, make([]float32, (second+more)*wq), ck, cv, before, nil, nil, 0, cache)
			a.Forward(nil, got, nil, q, k, v, docs, pk, pv, P, cache)
			if d := maxDiff(got, want); !(d <= 1e-5) {
				t.Fatalf("%s: differs by %g", set.name, d)
			}
		}
	})
}
