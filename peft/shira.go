package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/torchrand"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// ShiraConfig is HF's ShiraConfig.
type ShiraConfig struct {
	Common
	TargetFields
	FanFields
	R           int     `json:"r"`
	MaskType    string  `json:"mask_type"`
	RandomSeed  *uint64 `json:"random_seed"`
	InitWeights bool    `json:"init_weights"`
}

// shira is SHiRA, the sparse high rank adapter (Bhardwaj et al. 2024, arXiv:2406.13175): r·(in+out) chosen values of the weight are
// trained, as differences from the base: y = (W + S)·x + b with S sparse. The places are random: with random_seed those of torch.randperm,
// as HF draws them, otherwise from the run's seed. The folder holds them (shira_indices), so that it does not matter who drew them.
type shira struct {
	mergeTuner
	cfg ShiraConfig
}

func newShira() Method {
	m := &shira{cfg: ShiraConfig{Common: newCommon("SHIRA"), R: 32, MaskType: "random", InitWeights: true}}
	m.method = "SHIRA"
	return m
}

func (m *shira) Config() any { return &m.cfg }

// Attach implements Method.
func (m *shira) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if err := atLeast("SHIRA", "r", c.R, 1); err != nil {
		return err
	}
	if c.MaskType != "random" {
		return fmt.Errorf("peft: SHIRA: mask_type = %q; adaptflow draws \"random\" masks (another one is a Python function in HF PEFT)",
			c.MaskType)
	}
	return m.attach(c, sites, env, func(t *target) error {
		if err := onlyLinear(t, "SHIRA"); err != nil {
			return err
		}
		n := c.R * (t.in + t.out)
		if n > t.in*t.out || t.in*t.out >= math.MaxInt32 {
			return fmt.Errorf("peft: SHIRA: r = %d trains %d values of %s, which has %d; choose a smaller r", c.R, n, t.name, t.in*t.out)
		}
		init := zeros
		if !c.InitWeights {
			init = normal(env.Seed, t.key("shira_weight"), 1)
		}
		t.param("shira_weight", init, n)
		s := &sparse{in: t.in, out: t.out, n: n}
		s.draw = func() []int32 {
			seed := uint64(philox.NewKey(env.Seed, "shira", t.name).At(0, 0)[0])
			if c.RandomSeed != nil {
				seed = *c.RandomSeed
			}
			at := make([]int32, n)
			for k, p := range torchrand.New(seed).Perm(t.in * t.out)[:n] {
				at[k] = int32(p)
			}
			return at
		}
		m.frozen = append(m.frozen, Frozen{Key: t.key("shira_indices"), Shape: []int{2, n}, Int: true, Need: true, Values: s.indices,
			Check: func(v []float32) error { _, err := s.parse(v); return err },
			Load:  func(v []float32) { s.at, _ = s.parse(v); s.index() }})
		t.form = s
		return nil
	})
}

// sparse is the form of n chosen values of a layer's weight [out, in].
type sparse struct {
	in, out, n int
	draw       func() []int32
	at         []int32 // the places, row by row; nil until they are needed
	start      []int32 // of the places of each row
}

// places finds the places once, sorted as HF takes them out of a mask.
func (s *sparse) places() {
	if s.at != nil {
		return
	}
	s.at = s.draw()
	slices.Sort(s.at)
	s.index()
}

func (s *sparse) index() {
	s.start = make([]int32, s.out+1)
	for _, p := range s.at {
		s.start[int(p)/s.in+1]++
	}
	for i := range s.out {
		s.start[i+1] += s.start[i]
	}
}

// indices are the rows, then the columns of the places.
func (s *sparse) indices() []float32 {
	s.places()
	v := make([]float32, 2*s.n)
	for k, p := range s.at {
		v[k], v[s.n+k] = float32(int(p)/s.in), float32(int(p)%s.in)
	}
	return v
}

// parse reads a folder's places, which must be sorted, different and inside.
func (s *sparse) parse(v []float32) ([]int32, error) {
	at := make([]int32, s.n)
	for k := range at {
		i, j := int(v[k]), int(v[s.n+k])
		if i < 0 || j < 0 || i >= s.out || j >= s.in {
			return nil, fmt.Errorf("place %d is (%d, %d), outside the weight [%d, %d]", k, i, j, s.out, s.in)
		}
		at[k] = int32(i*s.in + j)
		if k > 0 && at[k] <= at[k-1] {
			return nil, fmt.Errorf("place %d does not come after the one before it; they must be sorted by row and column, and none twice",
				k)
		}
	}
	return at, nil
}

func (s *sparse) wire(b *nn.Builder, site nn.Site, t *target) nn.Ref {
	s.places()
	return b.Apply(&sparseOp{s}, append([]nn.Ref{site.Out, site.In[0]}, t.refs(b)...)...)
}

func (s *sparse) merge(_ *target, p [][]float32, w, _ []float32) error {
	s.places()
	for k, at := range s.at {
		w[at] += p[0][k]
	}
	return nil
}

// sparseOp is out = y + x·Sᵀ. The inputs are y [T, out], x [T, in] and the bank of the n values.
type sparseOp struct{ *sparse }

// sparseRows is how many tokens are turned over at a time, so that a column is a row in memory.
const sparseRows = 256

// Plan implements nn.Op.
func (o *sparseOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	n := sparseRows * (o.in + o.out)
	return nn.Plan{Out: in[0], ReadsIn: []bool{false, want[2], want[1]}, Pass: []bool{true, false, false},
		InPlace: []bool{true, false, false},
		Scratch: func(nn.Caps, int) int { return n }}
}

// turn writes m rows of x [m, d] as columns of y [d, m], or adds them back.
func turn(w *nn.Work, m, d int, x, y []float32, back bool) {
	const block = 32
	w.Pool.Run((d+block-1)/block, func(i int) {
		for c := i * block; c < min((i+1)*block, d); c++ {
			for t := range m {
				if back {
					x[t*d+c] += y[c*m+t]
				} else {
					y[c*m+t] = x[t*d+c]
				}
			}
		}
	})
}

// Forward implements nn.Op.
func (o *sparseOp) Forward(w *nn.Work) {
	if len(w.Out) == 0 {
		return
	}
	if &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	xt, yt := w.Scratch[:sparseRows*o.in], w.Scratch[sparseRows*o.in:sparseRows*(o.in+o.out)]
	w.EachSegment(func(start, end, slot int) {
		if slot < 0 {
			return
		}
		v := nn.Bank(w.In[2], slot, o.n)
		for lo := start; lo < end; lo += sparseRows {
			m := min(sparseRows, end-lo)
			turn(w, m, o.in, w.In[1][lo*o.in:], xt, false)
			w.Pool.Run(o.out, func(i int) {
				y := yt[i*m : (i+1)*m]
				clear(y)
				for k := o.start[i]; k < o.start[i+1]; k++ {
					j := int(o.at[k]) % o.in
					kernels.Axpy(nil, v[k], xt[j*m:(j+1)*m], y)
				}
			})
			turn(w, m, o.out, w.Out[lo*o.out:], yt, true)
		}
	})
}

// Backward implements nn.Op.
func (o *sparseOp) Backward(w *nn.Work) {
	xt, gt := w.Scratch[:sparseRows*o.in], w.Scratch[sparseRows*o.in:sparseRows*(o.in+o.out)]
	w.EachSegment(func(start, end, slot int) {
		if slot < 0 {
			return
		}
		v, dv := nn.Bank(w.In[2], slot, o.n), nn.Bank(w.DIn[2], slot, o.n)
		for lo := start; lo < end; lo += sparseRows {
			m := min(sparseRows, end-lo)
			turn(w, m, o.out, w.DOut[lo*o.out:], gt, false)
			if dv != nil {
				turn(w, m, o.in, w.In[1][lo*o.in:], xt, false)
				w.Pool.Run(o.out, func(i int) {
					for k := o.start[i]; k < o.start[i+1]; k++ {
						j := int(o.at[k]) % o.in
						dv[k] += float32(kernels.Dot(gt[i*m:(i+1)*m], xt[j*m:(j+1)*m]))
					}
				})
			}
			if w.DIn[1] == nil {
				continue
			}
			clear(xt[:m*o.in])
			const cols = 64 // each worker has columns of its own, and goes through the places in order
			w.Pool.Run((m+cols-1)/cols, func(c int) {
				a, b := c*cols, min((c+1)*cols, m)
				for k, p := range o.at {
					i, j := int(p)/o.in, int(p)%o.in
					kernels.Axpy(nil, v[k], gt[i*m+a:i*m+b], xt[j*m+a:j*m+b])
				}
			})
			turn(w, m, o.in, w.DIn[1][lo*o.in:], xt, true)
		}
	})
}
