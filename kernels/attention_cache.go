package kernels

const (
	CacheUnit  = attnKeys  // rows of a page of a cache
	CacheAlign = attnGroup // of what the place and the room of a document in a cache are multiples
)

// KVCache is a cache of keys and values: of float32 in K and V, or rounded to bfloat16 in KHalf and VHalf, each of CacheLen values. It lies
// in pages of CacheUnit rows: of each key/value head the keys transposed, [HeadDim, CacheUnit], as products read them, and the values in
// rows, [CacheUnit, HeadDim]. Of a bfloat16 cache every row sees the rounded values, those that come with it in a pass too, so that a
// prompt's results do not depend on how it is cut.
type KVCache struct {
	K, V         []float32
	KHalf, VHalf []uint16
}

// CacheLen is the number of values of the keys, and of the values, of a cache of so many rows, whole pages of them.
func (a Attn) CacheLen(rows int) int {
	return (rows + CacheUnit - 1) / CacheUnit * CacheUnit * a.KVHeads * a.HeadDim
}

// rows is the number of rows that c has.
func (c *KVCache) rows(a Attn) int {
	return max(min(len(c.K), len(c.V)), min(len(c.KHalf), len(c.VHalf))) / a.CacheLen(1) * CacheUnit
}

// page is where the values of a key/value head begin, of the page that holds row row.
func (a Attn) page(row, kv int) int { return row/CacheUnit*a.CacheLen(1) + kv*CacheUnit*a.HeadDim }

// put writes a document's rows of one key/value head behind its Past rows, and zeros that complete its last group of values.
func (c *KVCache) put(a Attn, d *docKeys, kv int, k, v []float32) {
	hd := a.HeadDim
	first := int(d.Cache) + int(d.Past)
	for r := range d.rows {
		src := (int(d.Start)+r)*a.KVHeads*hd + kv*hd
		at, col := a.page(first+r, kv), (first+r)%CacheUnit
		ks, vs := k[src:][:hd], v[src:][:hd]
		if c.K != nil {
			for e, x := range ks {
				c.K[at+e*CacheUnit+col] = x
			}
			copy(c.V[at+col*hd:], vs)
			continue
		}
		for e, x := range ks {
			c.KHalf[at+e*CacheUnit+col] = uint16(roundBF16(x) >> 16)
		}
		narrowHalfPlain(c.VHalf[at+col*hd:][:hd], vs)
	}
	end := first + d.rows
	for row := end; row < groups(end); row++ {
		at := a.page(end-1, kv) + row%CacheUnit*hd
		if c.K != nil {
			clear(c.V[at:][:hd])
		} else {
			clear(c.VHalf[at:][:hd])
		}
	}
}

// keys are the keys [HeadDim, CacheUnit] of the page from row row on, for query head h: in tmp where they have to be widened.
func (c *KVCache) keys(a Attn, h, row int, tmp []float32) []float32 {
	return pageOf(a, c.K, c.KHalf, h, row, tmp)
}

// values are the values [CacheUnit, HeadDim] of such a page.
func (c *KVCache) values(a Attn, h, row int, tmp []float32) []float32 {
	return pageOf(a, c.V, c.VHalf, h, row, tmp)
}

func pageOf(a Attn, wide []float32, half []uint16, h, row int, tmp []float32) []float32 {
	at, n := a.page(row, h/(a.Heads/a.KVHeads)), CacheUnit*a.HeadDim
	if wide != nil {
		return wide[at:][:n]
	}
	unpackBF16Row(tmp[:n], half[at:][:n])
	return tmp[:n]
}
