package kernels

// CopyCache copies n rows of a cache, from row from on to row to on, which do not overlap.
func (a Attn) CopyCache(c *KVCache, to, from, n int) {
	copyRows(a, c.K, c.V, to, from, n)
	copyRows(a, c.KHalf, c.VHalf, to, from, n)
}

func copyRows[E float32 | uint16](a Attn, k, v []E, to, from, n int) {
	if len(k) == 0 {
		return
	}
	hd := a.HeadDim
	for n > 0 {
		dst, src := to%CacheUnit, from%CacheUnit
		m := min(n, CacheUnit-dst, CacheUnit-src) // within a page of each
		for kv := range a.KVHeads {
			d, s := a.page(to, kv), a.page(from, kv)
			for e := range hd {
				copy(k[d+e*CacheUnit+dst:][:m], k[s+e*CacheUnit+src:][:m])
			}
			copy(v[d+dst*hd:][:m*hd], v[s+src*hd:][:m*hd])
		}
		to, from, n = to+m, from+m, n-m
	}
}
