package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// onTiles4 computes the product with 4-bit codes whose values are bfloat16: a panel's are expanded, some steps at a time, in a block that
// stays in the second cache, and multiplied there. A row has the bits of MatMul's.
func (t *few) onTiles4(p *pool.Pool, on *tileSet) {
	j := getTileJob()
	j.t, j.m, j.n, j.k, j.a, j.ars, j.c, j.ldc, j.add, j.per = on, t.m, t.n, t.k, t.a, t.lda, t.c, t.ldc, t.add, stepHalves
	j.measure()
	buf := j.hold()
	p.Run(j.blocks(), j.roundF)
	t.tiled, t.kc = j, even(t.k, chunk, stepHalves)
	p.Run(panels(t.n), t.f4)
	t.tiled = nil
	idleHalves.put(buf)
	j.done()
}

// tiles4 computes the columns of a panel.
func (t *few) tiles4(s *scratch, panel int, codes []uint8, scales []float32) {
	j, ts := t.tiled, getTileScratch()
	for tile := range panelCols / tileRows16 {
		ts.off[tile] = tile * stepHalves
	}
	for k0 := 0; k0 < t.k; k0 += t.kc {
		k := min(t.kc, t.k-k0)
		t.expand4(s, panel, codes, scales, k0, k, true)
		for i := 0; i < t.m; i += stripRows {
			j.stepsOf(ts, half(s.b[:]), i, panel*panelCols, t.width(panel), k0/stepHalves, (k0+k+stepHalves-1)/stepHalves)
		}
	}
	putTileScratch(ts)
}
