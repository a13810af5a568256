package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/internal/ggml"
	"github.com/adaptflow/adaptflow/internal/guard"
	"github.com/adaptflow/adaptflow/internal/pool"
)

// blockFormats are the formats of blocks that can be read.
func blockFormats() (fs []*ggml.Format) {
	for _, f := range ggml.Formats {
		if f.Read != nil && f.Block > 1 {
			fs = append(fs, f)
		}
	}
	return fs
}

// randomBlocks are n blocks of random bytes whose values are numbers below 1000.
func randomBlocks(r *rand.Rand, f *ggml.Format, n int) []byte {
	b, x := make([]byte, n*f.Bytes), make([]float32, f.Block)
	for i := 0; i < n; {
		one := b[i*f.Bytes:][:f.Bytes]
		for j := range one {
			one[j] = byte(r.Uint32())
		}
		f.Read(x, one)
		if !slices.ContainsFunc(x, func(v float32) bool { return !(v > -1000 && v < 1000) }) {
			i++
		}
	}
	return b
}

// randomMatrix is a matrix of random blocks between forbidden pages, in a random order, and its values as panels.
func randomMatrix(t testing.TB, r *rand.Rand, f *ggml.Format, k, n int, half bool) (*Blocks, Panels) {
	raw := randomBlocks(r, f, n*k/f.Block)
	data := guarded(t, len(raw)+(-len(raw)&3))[:len(raw)]
	copy(data, raw)
	b := &Blocks{K: k, N: n, Format: f, Data: data, Half: half}
	values := make([]float32, n*k)
	f.Read(values, raw)
	if r.IntN(2) == 0 {
		b.Order = make([]int32, n)
		turned := make([]float32, n*k)
		for i, o := range r.Perm(n) {
			b.Order[i] = int32(o)
			copy(turned[i*k:], values[o*k:][:k])
		}
		values = turned
	}
	if half {
		return b, PackHalf(make([]uint16, HalfLen(k, n)), k, n, values, 1, k)
	}
	return b, PackPanels(make([]float32, PanelsLen(k, n)), k, n, values, 1, k)
}

// TestBlocks: every set expands blocks to the bits that package ggml reads, as float32 and rounded to bfloat16, and writes nothing beyond.
func TestBlocks(t *testing.T) {
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for _, f := range blockFormats() {
				r := rand.New(rand.NewPCG(uint64(f.Type), 3))
				const n = 300
				raw := randomBlocks(r, f, n)
				src := guarded(t, len(raw)+(-len(raw)&3))
				src = src[len(src)-len(raw):]
				copy(src, raw)
				want := make([]float32, n*f.Block)
				f.Read(want, raw)
				got, halves := guard.Float32(t, len(want), guard.After), half(guard.Float32(t, len(want)/2, guard.After))
				ExpandBlocks(f, got, src)
				expandHalves(f, halves, src, make([]float32, len(want)))
				for i, v := range want {
					if math.Float32bits(got[i]) != math.Float32bits(v) {
						t.Fatalf("%s: value %d is %v, of ggml %v", f.Name, i, got[i], v)
					}
					if h := uint16(roundBF16(v) >> 16); halves[i] != h {
						t.Fatalf("%s: value %d, %v, is %x in bfloat16, want %x", f.Name, i, v, halves[i], h)
					}
				}
			}
		})
	}
}

// TestMatMulBlocks: panels of blocks are those of their values, and products with few rows have the bits of MatMul.
func TestMatMulBlocks(t *testing.T) {
	p := pool.New(2)
	defer p.Close()
	for _, set := range productSets() {
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			for at, f := range blockFormats() {
				r := rand.New(rand.NewPCG(uint64(f.Type), 4))
				k, n, half := f.Block*(1+r.IntN(1536/f.Block)), 1+r.IntN(150), at%2 == 0
				if r.IntN(3) == 0 {
					k = max(1280, f.Block) // whose chunks end within blocks
				}
				b, want := randomMatrix(t, r, f, k, n, half)
				what := fmt.Sprintf("%s [%d, %d] half %v", f.Name, k, n, half)
				got := b.Panels(p, guard.Float32(t, max(PanelsLen(k, n), HalfLen(k, n)/2), guard.After), 0, n)
				if !slices.Equal(got.Half, want.Half) || !slices.Equal(got.Data, want.Data) {
					t.Fatalf("%s: other panels", what)
				}
				if lo := n / 2 / panelCols * panelCols; true {
					part, all := b.Panels(nil, make([]float32, PanelsLen(k, n)), lo, n), want.Columns(lo, n)
					if !slices.Equal(part.Half, all.Half) || !slices.Equal(part.Data, all.Data) {
						t.Fatalf("%s: other panels from column %d on", what, lo)
					}
				}
				column, its := make([]float32, k), make([]float32, k)
				b.Column(column, n-1)
				if want.Column(its, n-1); !slices.Equal(column, its) {
					t.Fatalf("%s: another last column", what)
				}
				for _, m := range []int{1, 2, 1 + r.IntN(FewRows), FewRows} {
					lda, ldc := k+r.IntN(3), n+r.IntN(3)
					x := guard.Float32(t, (m-1)*lda+k, guard.After)
					copy(x, randn(r, len(x)))
					for _, beta := range []float32{0, 1} {
						hold(t, fmt.Sprintf("%s, %d rows", what, m), randn(r, (m-1)*ldc+n), func(p *pool.Pool, c []float32) {
							MatMul(p, m, x, lda, want, beta, c, ldc)
						}, func(p *pool.Pool, c []float32) { MatMulBlocks(p, m, x, lda, b, beta, c, ldc) }, p)
					}
				}
			}
		})
	}
}

func BenchmarkBlocks(b *testing.B) {
	const k, n = 1536, 48
	s := make([]float32, PanelsLen(k, n))
	for _, half := range []bool{false, true} {
		for _, f := range blockFormats() {
			b.Run(fmt.Sprintf("%s/half %v", f.Name, half), func(b *testing.B) {
				m, _ := randomMatrix(b, rand.New(rand.NewPCG(1, 1)), f, k, n, half)
				for b.Loop() {
					m.Panels(nil, s, 0, n)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(k*n), "ns/value")
			})
		}
		b.Run(fmt.Sprintf("4 bits/half %v", half), func(b *testing.B) {
			codes, _ := random4(b, rand.New(rand.NewPCG(1, 1)), k, n, 64, half)
			for b.Loop() {
				scales := codes.Scales(0, nil)
				for at := 0; at < k; at += 64 {
					if half {
						Codes4Half(floatsHalf(s)[at*panelCols:], codes.Codes[at/2*panelCols:], codes.Values, scales[at/64*panelCols:], 32)
					} else {
						Codes4Wide(s[at*panelCols:], codes.Codes[at/2*panelCols:], codes.Values, scales[at/64*panelCols:], 32)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(k*n), "ns/value")
		})
	}
}

func floatsHalf(x []float32) []uint16 { return half(x) }
