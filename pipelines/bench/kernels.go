package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/usage"
	"github.com/adaptflow/adaptflow/kernels"
)

// KernelsConfig says how kernels are measured.
type KernelsConfig struct {
	Tokens  int           // rows of a product, tokens of a batch
	Seq     int           // tokens of a document, for attention
	Threads int           // 0: all
	Time    time.Duration // at least so long a case
}

// Case is one measured kernel: the median of its calls, and their low quartiles, which other work on the machine moves less, and least that
// of the processors' time.
type Case struct {
	Name         string  `json:"name"`
	DType        string  `json:"dtype"`
	Shape        []int   `json:"shape"` // of a product: rows, output and input features
	Milliseconds float64 `json:"milliseconds"`
	LowQuartile  float64 `json:"low_quartile_milliseconds"`
	CPU          float64 `json:"low_quartile_cpu_milliseconds"` // of all threads together
	GFLOPS       float64 `json:"gflops,omitempty"`              // 10⁹ operations a second
	ShareOfPeak  float64 `json:"share_of_peak,omitempty"`       // of the peak of its dtype
}

// KernelsResult is what was measured.
type KernelsResult struct {
	KernelSet string `json:"kernel_set"`
	Threads   int    `json:"threads"`
	// the best rate of one small product a thread whose operands stay in the second cache
	Peak  map[string]float64 `json:"peak_gflops,omitempty"`
	Cases []Case             `json:"cases"`
}

func (c *KernelsConfig) complete() error {
	if c.Tokens == 0 {
		c.Tokens = 2048
	}
	if c.Seq == 0 {
		c.Seq = 512
	}
	if c.Tokens < 1 || c.Seq < 1 || c.Tokens%c.Seq != 0 {
		return fmt.Errorf("%d tokens are not a whole number of documents of %d", c.Tokens, c.Seq)
	}
	if c.Time == 0 {
		c.Time = 300 * time.Millisecond
	}
	return nil
}

// timed calls f for at least the given time and five times, after one call to warm up, and sets what c says of its durations.
func (c *Case) timed(least time.Duration, f func()) {
	f()
	var ms, cpu []float64
	for start := time.Now(); time.Since(start) < least || len(ms) < 5; {
		at, used := time.Now(), usage.CPU()
		f()
		ms = append(ms, float64(time.Since(at).Nanoseconds())/1e6)
		cpu = append(cpu, float64((usage.CPU()-used).Nanoseconds())/1e6)
	}
	slices.Sort(ms)
	slices.Sort(cpu)
	c.Milliseconds, c.LowQuartile, c.CPU = ms[len(ms)/2], ms[len(ms)/4], cpu[len(cpu)/4]
}

func random(name string, n int) []float32 {
	x := make([]float32, n)
	philox.NewKey(1, "bench", name).FillNormal(x, 0, 1)
	return x
}

// linears are the products of a 135M Llama: output and input features.
var linears = []struct {
	name    string
	out, in int
}{{"q_proj", 576, 576}, {"k_proj", 192, 576}, {"up_proj", 1536, 576}, {"down_proj", 576, 1536}, {"lm_head", 49152, 576}}

// Gemm measures the matrix products of the linear layers and the head of a 135M Llama, forward and dX, with float32 and bfloat16 weights.
func Gemm(c KernelsConfig) (*KernelsResult, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	p := pool.New(c.Threads)
	defer p.Close()
	r := &KernelsResult{KernelSet: kernels.Active().String(), Threads: p.Threads(), Peak: map[string]float64{}}
	packed := func(dtype string, out, in int, w []float32) kernels.Panels {
		if dtype == "bfloat16" {
			return kernels.PackHalf(make([]uint16, kernels.HalfLen(in, out)), in, out, w, 1, in)
		}
		return kernels.PackPanels(make([]float32, kernels.PanelsLen(in, out)), in, out, w, 1, in)
	}
	for _, dtype := range []string{"float32", "bfloat16"} {
		r.Peak[dtype] = peakGFLOPS(p, packed, dtype)
		for _, l := range linears {
			m := c.Tokens
			if l.name == "lm_head" {
				m = min(m, 512) // the head works through chunks of rows
			}
			b := packed(dtype, l.out, l.in, random("w", l.out*l.in))
			tile := min(l.out, 3072) // nn.Head's: the logits exist a tile at a time
			x, y := random("x", m*l.in), random("y", m*tile)
			tiles := func(f func(b kernels.Panels, lo int)) func() {
				return func() {
					for lo := 0; lo < l.out; lo += tile {
						f(b.Columns(lo, min(lo+tile, l.out)), lo)
					}
				}
			}
			flop := 2 * float64(m) * float64(l.out) * float64(l.in)
			for _, d := range []struct {
				name string
				f    func()
			}{{"forward", tiles(func(b kernels.Panels, _ int) { kernels.MatMul(p, m, x, l.in, b, 0, y, tile) })},
				{"dX", tiles(func(b kernels.Panels, lo int) { kernels.MatMulT(p, m, y, tile, b, float32(min(lo, 1)), x, l.in) })}} {
				// The products of one call must not feed the next, or values grow without bound.
				copy(x, random("x", len(x)))
				copy(y, random("y", len(y)))
				one := Case{Name: l.name + " " + d.name, DType: dtype, Shape: []int{m, l.out, l.in}}
				one.timed(c.Time, d.f)
				one.GFLOPS = flop / one.Milliseconds / 1e6
				one.ShareOfPeak = one.GFLOPS / r.Peak[dtype]
				r.Cases = append(r.Cases, one)
			}
		}
	}
	return r, nil
}

// peakGFLOPS is the best rate of products small enough that their operands stay in each thread's second cache.
func peakGFLOPS(p *pool.Pool, packed func(string, int, int, []float32) kernels.Panels, dtype string) float64 {
	const m, n, times = 128, 192, 20
	threads := p.Threads()
	best := 0.0
	for _, k := range []int{128, 320, 640} {
		b := packed(dtype, n, k, random("w", n*k))
		xs, ys := make([][]float32, threads), make([][]float32, threads)
		for i := range threads {
			xs[i], ys[i] = random("x", m*k), make([]float32, m*n)
		}
		for range 40 {
			at := time.Now()
			p.Run(threads, func(i int) {
				for range times {
					kernels.MatMul(nil, m, xs[i], k, b, 0, ys[i], n)
				}
			})
			best = max(best, 2*m*n*float64(k)*times*float64(threads)/float64(time.Since(at).Nanoseconds()))
		}
	}
	return best
}

// Attention measures causal attention of a 135M Llama's layer, forward and backward: documents of Seq tokens, 9 heads of 64, 3 of keys
// and values. Operations count the causal half.
func Attention(c KernelsConfig) (*KernelsResult, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	p := pool.New(c.Threads)
	defer p.Close()
	r := &KernelsResult{KernelSet: kernels.Active().String(), Threads: p.Threads()}
	const H, KV, hd = 9, 3, 64
	a := kernels.Attn{Heads: H, KVHeads: KV, HeadDim: hd, Scale: 0.125}
	t := c.Tokens
	q, k, v, dout := random("q", t*H*hd), random("k", t*KV*hd), random("v", t*KV*hd), random("d", t*H*hd)
	out, lse := make([]float32, len(q)), make([]float32, t*H)
	dq, dk, dv := make([]float32, len(q)), make([]float32, len(k)), make([]float32, len(v))
	var docs []kernels.Doc
	for at := 0; at < t; at += c.Seq {
		docs = append(docs, kernels.Doc{Start: int32(at), End: int32(at + c.Seq), Slot: -1})
	}
	product := 2 * float64(len(docs)*H) * float64(c.Seq) * float64(c.Seq+1) / 2 * hd
	scratch := make([]float32, a.BackwardScratch(t, p.Threads()))
	forward := func() { a.Forward(p, out, lse, q, k, v, docs, nil, nil, 0, nil) }
	backward := func() { a.Backward(p, dq, dk, dv, nil, nil, dout, q, k, v, out, lse, docs, nil, nil, 0, scratch) }
	for _, d := range []struct {
		name     string
		products float64
		f        func()
	}{{"forward", 2, forward}, {"backward", 5, backward}, {"forward+backward", 7, func() { forward(); backward() }}} {
		one := Case{Name: "attention " + d.name, DType: "float32", Shape: []int{len(docs), c.Seq, H, KV, hd}}
		one.timed(c.Time, d.f)
		one.GFLOPS = d.products * product / one.Milliseconds / 1e6
		r.Cases = append(r.Cases, one)
	}
	return r, nil
}

// Elementwise measures the row-wise kernels of a 135M Llama's layer.
func Elementwise(c KernelsConfig) (*KernelsResult, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	p := pool.New(c.Threads)
	defer p.Close()
	r := &KernelsResult{KernelSet: kernels.Active().String(), Threads: p.Threads()}
	const d, ff, heads = 576, 1536, 9
	t := c.Tokens
	x, dy, w := random("x", t*d), random("dy", t*d), random("w", d)
	y, dx, rstd, mean := make([]float32, t*d), make([]float32, t*d), make([]float32, t), make([]float32, t)
	g, u, dh := random("g", t*ff), random("u", t*ff), random("dh", t*ff)
	h, dg, du := make([]float32, t*ff), make([]float32, t*ff), make([]float32, t*ff)
	pos := make([]int32, t)
	for i := range pos {
		pos[i] = int32(i % c.Seq)
	}
	inv := make([]float64, d/heads/2)
	for i := range inv {
		inv[i] = 1 / float64(i+1)
	}
	table := kernels.NewRopeTable(inv, c.Seq, 1)
	kernels.RMSNorm(p, y, rstd, x, w, t, d, 1e-5, false)
	kernels.LayerNorm(p, y, mean, make([]float32, t), x, w, w, t, d, 1e-5)
	rmsnorm := func() { kernels.RMSNorm(p, y, rstd, x, w, t, d, 1e-5, false) }
	rmsnormBack := func() { kernels.RMSNormBackward(p, dx, nil, dy, x, w, rstd, t, d, false) }
	swiglu := func() { kernels.SwiGLU(p, h, g, u) }
	swigluBack := func() { kernels.SwiGLUBackward(p, 0, dg, du, dh, g, u) }
	for _, k := range []struct {
		name string
		cols int
		f    func()
	}{
		{"rmsnorm forward", d, rmsnorm},
		{"rmsnorm backward", d, rmsnormBack},
		{"rmsnorm forward+backward", d, func() { rmsnorm(); rmsnormBack() }},
		{"layernorm forward", d, func() { kernels.LayerNorm(p, y, mean, nil, x, w, w, t, d, 1e-5) }},
		{"swiglu forward", ff, swiglu},
		{"swiglu backward", ff, swigluBack},
		{"swiglu forward+backward", ff, func() { swiglu(); swigluBack() }},
		{"gelu forward", ff, func() { kernels.Activate(p, kernels.GELU, h, g) }},
		{"rope forward", d, func() { kernels.Rope(p, y, x, t, heads, d/heads, d/heads, pos, table, false, false) }},
	} {
		one := Case{Name: k.name, DType: "float32", Shape: []int{t, k.cols}}
		one.timed(c.Time, k.f)
		r.Cases = append(r.Cases, one)
	}
	return r, nil
}
