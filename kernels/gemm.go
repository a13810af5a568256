package kernels

import "github.com/adaptflow/adaptflow/internal/pool"

// Products of float32 matrices.
//
// Every element of a result is one chain of multiply-adds over a chunk of the inner dimension, in order, starting from zero;
// the chunks are then added to C in order. Which tile, thread or row block computes an element does not enter into it, so the
// bits of a row depend on that row of A, on B and on the kernel set only: not on the threads, nor on the number of rows. The
// assembly sets fuse the multiply-add; plain Go rounds the product.
//
// Scratch memory comes from a free list that is never given back: no call allocates once as many calls and threads as run at
// the same time have run before (about 0.5 MiB a thread, and up to 5 MiB for each MatMulT at the same time).

const (
	tileRows   = 8   // rows of a tile
	halfGroup  = 8   // the same of bfloat16, which take half the room
	groupSize  = 4   // panels that stay in the cache while rows pass by: 192 columns
	chunk      = 640 // inner dimension of a tile, at most
	gemmChunk  = 512 // the same for Gemm: fixed, since it sums over tokens
	thinTall   = 6   // rows of a tile of the set AVX2, and its columns: B's part mostly stays in the first cache
	thinWide   = 16
	thinBlock  = 96   // rows of A that stay in the second cache while B's parts pass by
	directRows = 24   // Gemm with no more rows than this reads B where it lies, having no use for packing
	blockRows  = 128  // rows of a unit of work on panels
	packRows   = 1024 // rows of a unit of work that packs or widens
	serialWork = 1 << 16
)

// MatMul computes C = beta·C + A·B for A [m, K] with element (i, k) at a[i*lda+k], B [K, N] and C [m, N] with rows ldc apart.
// beta is 0 or 1; with 0, C is not read. The inner dimension is split evenly into chunks of at most 640.
func MatMul(p *pool.Pool, m int, a []float32, lda int, b Panels, beta float32, c []float32, ldc int) {
	j := getJob()
	j.m, j.n, j.k = m, b.N, b.K
	j.a, j.ars, j.acs = a, lda, 1
	j.b, j.h, j.source = b.Data, b.Half, fromPanels
	j.kc = even(b.K, chunk, 2)
	j.do(p, 1, beta, c, ldc)
}

// MatMulT computes C = beta·C + A·Bᵀ for A [m, N] with element (i, n) at a[i*lda+n], B [K, N] and C [m, K] with rows ldc apart:
// the gradient of MatMul's A. beta is 0 or 1; with 0, C is not read. The panels are transposed in blocks of 48×48 into scratch,
// beforehand where there are many rows.
func MatMulT(p *pool.Pool, m int, a []float32, lda int, b Panels, beta float32, c []float32, ldc int) {
	j := getJob()
	j.m, j.n, j.k = m, b.K, b.N
	j.a, j.ars, j.acs = a, lda, 1
	j.b, j.h, j.source = b.Data, b.Half, fromTransposed
	j.kc = even(b.N, chunk, panelCols)
	j.do(p, 1, beta, c, ldc)
}

// Gemm computes C = beta·C + alpha·op(A)·op(B), with op(A) [m, k] having element (i, q) at a[i*ars+q*acs], op(B) [k, n] element
// (q, j) at b[q*brs+j*bcs], and C [m, n] rows ldc apart. beta is 0 or 1; with 0, C is not read. The inner dimension is summed
// in chunks of 512, each multiplied by alpha and added to C in order. B is packed in scratch as needed.
func Gemm(p *pool.Pool, m, n, k int, alpha float32, a []float32, ars, acs int, b []float32, brs, bcs int, beta float32,
	c []float32, ldc int) {
	j := getJob()
	j.m, j.n, j.k = m, n, k
	j.a, j.ars, j.acs = a, ars, acs
	j.b, j.brs, j.bcs, j.source = b, brs, bcs, fromStrided
	j.kc = gemmChunk
	j.do(p, alpha, beta, c, ldc)
}

// even is the chunk that splits k evenly into as few chunks of at most most as there can be, rounded up to a multiple of unit.
func even(k, most, unit int) int {
	most -= most % unit
	parts := max(1, (k+most-1)/most)
	per := (k + parts - 1) / parts
	return max(unit, (per+unit-1)/unit*unit)
}
