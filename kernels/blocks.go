package kernels

import (
	"fmt"
	"unsafe"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// Blocks is a frozen matrix B [K, N] whose columns lie as the rows of a tensor in ggml's blocks, as a GGUF file has them: column n is row
// Order[n] of Data, n itself where Order is nil. K is a whole number of blocks. Values are those that ggml's dequantisation gives, rounded
// to bfloat16 where Half is set, as the other factor of a product then is.
type Blocks struct {
	K, N   int
	Format *ggml.Format
	Data   []byte
	Order  []int32
	Half   bool
}

// Check panics where the fields do not fit each other.
func (b *Blocks) Check() {
	f := b.Format
	if f.Read == nil || b.K%f.Block != 0 || b.K%2 != 0 || b.Order != nil && len(b.Order) != b.N || len(b.Data) < b.N*f.Size(b.K) {
		panic(fmt.Sprintf("kernels: %d bytes of %s and %d places for a matrix [%d, %d]", len(b.Data), f.Name, len(b.Order), b.K, b.N))
	}
}

// raw are the bytes of column n.
func (b *Blocks) raw(n int) []byte {
	if b.Order != nil {
		n = int(b.Order[n])
	}
	size := b.Format.Size(b.K)
	return b.Data[n*size:][:size:size]
}

// Column writes column n to dst[:K].
func (b *Blocks) Column(dst []float32, n int) {
	ExpandBlocks(b.Format, dst[:b.K], b.raw(n))
	if b.Half {
		roundBF16Row(dst[:b.K])
	}
}

// ExpandBlocks writes the values of whole blocks: what f.Read gives, by the kernels of the active set.
func ExpandBlocks(f *ggml.Format, dst []float32, src []byte) {
	if len(dst) == 0 {
		return
	}
	_, _ = src[f.Size(len(dst))-1], dst[:len(dst)/f.Block*f.Block]
	if !expandWide(f, dst, src) {
		f.Read(dst, src)
	}
}

// expandHalves writes the same rounded to bfloat16. room has as many values.
func expandHalves(f *ggml.Format, dst []uint16, src []byte, room []float32) {
	_, _ = src[f.Size(len(dst))-1], dst[:len(dst)/f.Block*f.Block]
	if expandHalf(f, dst, src) {
		return
	}
	room = room[:len(dst)]
	ExpandBlocks(f, room, src)
	packBF16Row(dst, room)
}

// Panels writes the columns [lo, hi) as panels to scratch, of which it needs PanelsLen values, or HalfLen/2, working with the threads of p.
// lo is a multiple of 48.
func (b *Blocks) Panels(p *pool.Pool, scratch []float32, lo, hi int) Panels {
	to := Panels{K: b.K, N: hi - lo}
	if b.Half {
		to.Half = half(scratch)[:HalfLen(b.K, to.N)]
	} else {
		to.Data = scratch[:PanelsLen(b.K, to.N)]
	}
	step := max(1, 256/b.Format.Block) * b.Format.Block
	p.Run(panels(to.N), func(i int) {
		s := getScratch()
		defer putScratch(s)
		for k0 := 0; k0 < b.K; k0 += step {
			k, at := min(step, b.K-k0), (i*b.K+k0)*panelCols
			if b.Half {
				b.pairs(to.Half[at:], lo/panelCols+i, k0, k, s.x[:])
			} else {
				b.wide(to.Data[at:], lo/panelCols+i, k0, k, s.x[:])
			}
		}
	})
	return to
}

// part is what of a panel's columns is expanded for the values [k0, k0+k): the whole blocks that have them.
func (b *Blocks) part(panel, k0, k int) (columns, first, n int) {
	block := b.Format.Block
	first = k0 / block * block
	return min(panelCols, b.N-panel*panelCols), first, (k0+k+block-1)/block*block - first
}

// wide writes the values [k0, k0+k) of a panel: k rows of 48.
func (b *Blocks) wide(dst []float32, panel, k0, k int, room []float32) {
	columns, first, n := b.part(panel, k0, k)
	if columns < panelCols {
		clear(dst[:k*panelCols])
	}
	for c := range columns {
		ExpandBlocks(b.Format, room[c*n:][:n], b.raw(panel*panelCols + c)[b.Format.Size(first):])
	}
	turn(dst, k, columns, room[k0-first:], n)
}

// pairs writes them as bfloat16: k/2 rows of 48 pairs. k0 and k are even.
func (b *Blocks) pairs(dst []uint16, panel, k0, k int, room []float32) {
	columns, first, n := b.part(panel, k0, k)
	if columns < panelCols {
		clear(dst[:k*panelCols])
	}
	halves, room := half(room[:panelCols*n/2]), room[panelCols*n/2:]
	for c := range columns {
		expandHalves(b.Format, halves[c*n:][:n], b.raw(panel*panelCols + c)[b.Format.Size(first):], room)
	}
	turn(floats(dst), k/2, columns, floats(halves)[(k0-first)/2:], n/2) // a pair moves as a number of 32 bits does
}

// turn writes the first k values of columns rows, n apart, as rows of a panel, some at a time, which stay in the first cache while they are
// filled.
func turn(dst []float32, k, columns int, rows []float32, n int) {
	const some = 64
	for i := 0; i < k; i += some {
		packColumns(dst[i*panelCols:], min(some, k-i), columns, rows[i:], 1, n)
	}
}

// floats are pairs of 16-bit values as the memory of float32 ones.
func floats(x []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
}

// MatMulBlocks computes C = beta·C + A·B for a few rows, as MatMul does with the panels of B's values.
func MatMulBlocks(p *pool.Pool, m int, a []float32, lda int, b *Blocks, beta float32, c []float32, ldc int) {
	if m <= 0 || b.N <= 0 {
		return
	}
	b.Check()
	_, _ = a[(m-1)*lda+b.K-1], c[(m-1)*ldc+b.N-1]
	t := getFew(m, b.N, b.K, a, lda, beta, c, ldc)
	defer putFew(t)
	t.blocks, t.b4.Half = b, b.Half
	t.panels(p)
}

// expand writes a chunk of a panel's values to s.b: as bfloat16 pairs with pairs set.
func (b *Blocks) expand(s *scratch, panel, k0, k int, pairs bool) {
	if pairs {
		b.pairs(half(s.b[:]), panel, k0, k, s.x[:])
	} else {
		b.wide(s.b[:], panel, k0, k, s.x[:])
	}
}
