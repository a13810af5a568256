package kernels

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/usage"
)

// reads reports how fast f, which reads so many bytes, reads: by the clock and by processor time, which other programs change less.
func reads(b *testing.B, bytes int, f func()) {
	f()
	from := usage.CPU()
	for b.Loop() {
		f()
	}
	all := float64(bytes) * float64(b.N) / 1e9
	b.ReportMetric(all/b.Elapsed().Seconds(), "GB/s")
	b.ReportMetric(all/(usage.CPU()-from).Seconds(), "GB/cpu-s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFewRows reads weights from memory: many matrices of one shape, which no cache holds, by products of a few rows, beside a loop
// that only reads.
func BenchmarkFewRows(b *testing.B) {
	for _, s := range [][2]int{{2048, 2048}, {576, 1536}, {1536, 576}} {
		b.Run(fmt.Sprintf("%dx%d", s[0], s[1]), func(b *testing.B) { benchFewRows(b, s[0], s[1]) })
	}
}

func benchFewRows(b *testing.B, k, n int) {
	const most = 1 << 28
	block := mem.Alloc(most)
	defer block.Free()
	raw := block.Bytes()
	for i := 0; i < len(raw); i += 64 {
		raw[i] = byte(i * 37 >> 3) // no page is the system's page of zeros
	}
	scales := make([]float32, panels(n)*k/64*panelCols)
	for i := range scales {
		scales[i] = 1e-3
	}
	values := new([16]float32)
	r := rand.New(rand.NewPCG(1, 1))
	x, y := make([]float32, FewRows*k), make([]float32, FewRows*n)
	for i := range x {
		x[i] = float32(r.IntN(255) - 127)
	}
	for _, threads := range []int{1, 2} {
		p := pool.New(threads)
		defer p.Close()
		b.Run(fmt.Sprintf("read/threads=%d", threads), func(b *testing.B) { reads(b, len(raw), func() { ReadAll(p, raw) }) })
		for _, c := range []struct {
			name string
			size int // bytes of a matrix
			f    func(m int, w []byte)
		}{
			{"float32", 4 * PanelsLen(k, n), func(m int, w []byte) {
				MatMul(p, m, x, k, Panels{K: k, N: n, Data: unsafe.Slice((*float32)(unsafe.Pointer(&w[0])), PanelsLen(k, n))}, 0, y, n)
			}},
			{"bfloat16", 2 * HalfLen(k, n), func(m int, w []byte) {
				MatMul(p, m, x, k, Panels{K: k, N: n, Half: unsafe.Slice((*uint16)(unsafe.Pointer(&w[0])), HalfLen(k, n))}, 0, y, n)
			}},
			{"8bits", HalfLen(k, n), func(m int, w []byte) {
				MatMulCodes8(p, m, x, k, Codes8{k, n, unsafe.Slice((*int8)(unsafe.Pointer(&w[0])), HalfLen(k, n))}, 0, y, n)
			}},
			{"4bits/half", HalfLen(k, n) / 2, func(m int, w []byte) {
				MatMulCodes4(p, m, x, k, Codes4{k, n, 64, w, values, true,
					func(panel int, _ []float32) []float32 { return scales[panel*k/64*panelCols:] }}, 0, y, n)
			}},
			{"4bits/wide", HalfLen(k, n) / 2, func(m int, w []byte) {
				MatMulCodes4(p, m, x, k, Codes4{k, n, 64, w, values, false,
					func(panel int, _ []float32) []float32 { return scales[panel*k/64*panelCols:] }}, 0, y, n)
			}},
		} {
			for _, m := range []int{1, 4, 8, 32} {
				b.Run(fmt.Sprintf("%s/m=%d/threads=%d", c.name, m, threads), func(b *testing.B) {
					some := raw[:most/c.size*c.size]
					reads(b, len(some), func() {
						for w := some; len(w) > 0; w = w[c.size:] {
							c.f(m, w[:c.size])
						}
					})
				})
			}
		}
	}
}
