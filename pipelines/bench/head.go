package bench

import (
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// headAlone is the program of a frozen head [v, d] on trainable rows, which an embedding hands over.
type headAlone struct {
	w       quant.Weight
	rows, d int
}

// Wire implements nn.Wiring.
func (h headAlone) Wire(b *nn.Builder) {
	v, _ := h.w.Dims()
	x := b.Param("x", h.rows, h.d, func(dst []float32) { copy(dst, random("x", len(dst))) })
	e := b.Apply(&nn.Embedding{V: h.rows, D: h.d, TrainW: true}, x)
	b.Finish(b.Apply(&nn.Head{W: h.w, V: v, D: h.d}, e))
}

// Head measures the head of a 135M Llama as training runs it, on min(Tokens, 512) rows: log-probabilities of the labels, and the gradient
// of their sum for the rows. Logits are made a tile at a time, forward, and multiplied by the weight at once: two products in all. Copying
// the rows in, and adding their gradient, is part of the time.
func Head(c KernelsConfig) (*KernelsResult, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	const v, d = 49152, 576
	p := pool.New(c.Threads)
	defer p.Close()
	r := &KernelsResult{KernelSet: kernels.Active().String(), Threads: p.Threads()}
	m := min(c.Tokens, 512)
	s := &nn.Step{Docs: []kernels.Doc{{End: int32(m), Slot: -1}}}
	coef := make([]float32, m)
	for i := range m {
		s.Tokens, s.Positions, s.Rows = append(s.Tokens, int32(i)), append(s.Positions, int32(i)), append(s.Rows, int32(i))
		s.Labels = append(s.Labels, int32(philox.NewKey(1, "bench", "labels").At(uint64(i), 0)[0]%v))
		coef[i] = -1 / float32(m)
	}
	w := random("w", v*d)
	for i := range w {
		w[i] *= 1.0 / 24 // as a trained head's: logits of about one
	}
	for _, dtype := range []string{"float32", "bfloat16"} {
		h := headAlone{rows: m, d: d}
		if dtype == "float32" {
			h.w = quant.NewF32(v, d, w, d, 1)
		} else {
			h.w = quant.NewBF16(v, d, w, d, 1)
		}
		if err := r.head(c, h, dtype, p, s, coef); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *KernelsResult) head(c KernelsConfig, h headAlone, dtype string, p *pool.Pool, s *nn.Step, coef []float32) error {
	params := nn.NewParams(1)
	defer params.Free()
	prog, err := nn.Compile(h, nil, params, nn.Options{Pool: p, Caps: nn.Caps{T: h.rows, S: h.rows, N: 1}})
	if err != nil {
		return err
	}
	defer prog.Close()
	v, d := h.w.Dims()
	one := Case{Name: "head forward+backward", DType: dtype, Shape: []int{h.rows, v, d}}
	one.timed(c.Time, func() {
		prog.Forward(s, true)
		prog.Backward(coef)
	})
	one.GFLOPS = 4 * float64(h.rows) * float64(v) * float64(d) / one.Milliseconds / 1e6
	r.Cases = append(r.Cases, one)
	return nil
}
