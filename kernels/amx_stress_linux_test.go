package kernels

import (
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/pool"
)

// TestTilesStress multiplies on 8 goroutines while the collector runs, stacks move, timers fire, and every thread gets signals that preempt
// it and signals of the profiler: each product has the bits of a quiet one. Tiles are a thread's, so that what lived in them across Go code
// would be lost. ADAPTFLOW_STRESS is its length in seconds.
func TestTilesStress(t *testing.T) {
	length := time.Second
	if testing.Short() {
		length /= 4
	}
	if s, err := strconv.ParseFloat(os.Getenv("ADAPTFLOW_STRESS"), 64); err == nil {
		length = time.Duration(s * float64(time.Second))
	}
	for _, set := range productSets() {
		if set.set != AMX {
			continue
		}
		t.Run(set.name, func(t *testing.T) {
			set.use(t)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
			defer debug.SetGCPercent(debug.SetGCPercent(10))
			r := rand.New(rand.NewPCG(20, 4))
			m, n, k := 64, 576, 576
			if set.name == "amx_plain" {
				m, n, k = 20, 100, 70
			}
			w, x, codes, quads := randn(r, n*k), randn(r, m*k), make([]float32, m*k), make([]uint16, QuadsLen(k, n))
			b := PackHalf(make([]uint16, HalfLen(k, n)), k, n, w, 1, k)
			turned := PackHalf(make([]uint16, HalfLen(n, k)), n, k, w, k, 1)
			for i := range codes {
				codes[i] = float32(r.IntN(255) - 127)
			}
			for i := range quads {
				quads[i] = uint16(r.Uint32())
			}
			products := []func(p *pool.Pool, c []float32){
				func(p *pool.Pool, c []float32) { MatMul(p, m, x, k, b, 0, c, n) },
				func(p *pool.Pool, c []float32) { MatMul(p, 7, x, k, b, 0, c, n) },
				func(p *pool.Pool, c []float32) { MatMulT(p, m, x, k, turned, 0, c, n) },
				func(p *pool.Pool, c []float32) { MatMulInt8(p, m, n, k, codes, quads, c, n) },
			}
			want := make([][]float32, len(products))
			for i, f := range products {
				want[i] = make([]float32, m*n)
				f(nil, want[i])
			}
			if pprof.StartCPUProfile(io.Discard) == nil {
				defer pprof.StopCPUProfile()
			}
			stop := time.Now().Add(length)
			var wg sync.WaitGroup
			done := make([]int, 8)
			for id := range done {
				wg.Go(func() {
					p := pool.New(1 + id%3)
					defer p.Close()
					for i := id; time.Now().Before(stop) && !t.Failed(); i++ {
						c := make([]float32, m*n) // garbage
						products[i%len(products)](p, c)
						if !slices.Equal(c, want[i%len(products)]) {
							t.Errorf("goroutine %d: product %d is another", id, i%len(products))
						}
						done[id]++
						deep(40)
					}
				})
			}
			wg.Go(func() {
				for time.Now().Before(stop) {
					runtime.GC()
					time.Sleep(time.Millisecond)
				}
			})
			wg.Go(func() {
				for time.Now().Before(stop) {
					threads, _ := os.ReadDir("/proc/self/task")
					for range 20 {
						for _, d := range threads {
							tid, _ := strconv.Atoi(d.Name())
							syscall.Tgkill(syscall.Getpid(), tid, syscall.SIGURG)
						}
					}
					time.Sleep(200 * time.Microsecond)
				}
			})
			for range 4 {
				wg.Go(func() {
					for time.Now().Before(stop) {
						time.Sleep(50 * time.Microsecond)
					}
				})
			}
			wg.Wait()
			t.Logf("products of each goroutine: %v", done)
		})
	}
}

// deep makes the stack move.
func deep(n int) int {
	var x [128]int
	if n == 0 {
		return x[0]
	}
	x[n%128] = n
	return deep(n-1) + x[(n+1)%128]
}
