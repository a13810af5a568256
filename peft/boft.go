package peft

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// BOFTConfig is HF's BOFTConfig.
type BOFTConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	BiasFields
	FanFields
	BlockSize   int   `json:"boft_block_size"`
	BlockNum    int   `json:"boft_block_num"`
	Factors     int   `json:"boft_n_butterfly_factor"`
	Dropout     Float `json:"boft_dropout"`
	InitWeights bool  `json:"init_weights"`
}

// boft is orthogonal fine-tuning by butterfly factors (Liu et al. 2023, "Parameter-Efficient Orthogonal Finetuning via Butterfly
// Factorization", arXiv:2311.06243): y = s ⊙ (W·(x·B_m···B_1)) + b, where each factor B = P·diag(R_1, …, R_n)·Pᵀ rotates blocks of columns
// that a permutation P puts side by side, R is Cayley's rotation of (A-Aᵀ)/2, and s scales the outputs. HF PEFT computes more than one
// factor by a CUDA extension only and trains one where it is absent; a folder it has written that way has one factor whatever its
// configuration says, and opens so here.
type boft struct {
	mergeTuner
	cfg     BOFTConfig
	shapeOf func(key string) []int // of an opened folder's tensors
}

func newBOFT() Method {
	m := &boft{cfg: BOFTConfig{Common: newCommon("BOFT"), BiasFields: BiasFields{Bias: "none"}, BlockSize: 4, Factors: 1,
		InitWeights: true}}
	m.method = "BOFT"
	return m
}

func (m *boft) Config() any { return &m.cfg }

// shapes implements shaped: the folder says how many factors there are.
func (m *boft) shapes(of func(key string) []int) { m.shapeOf = of }

// Attach implements Method.
func (m *boft) Attach(sites []nn.Site, env Env) error {
	c := &m.cfg
	if (c.BlockSize != 0) == (c.BlockNum != 0) || c.BlockSize < 0 || c.BlockNum < 0 {
		return fmt.Errorf("peft: BOFT: boft_block_size = %d and boft_block_num = %d: give one of them and set the other to 0; their "+
			"product is the layer's input size",
			c.BlockSize, c.BlockNum)
	}
	if err := firstError(atLeast("BOFT", "boft_n_butterfly_factor", c.Factors, 1),
		probability("BOFT", "boft_dropout", c.Dropout)); err != nil {
		return err
	}
	return m.attach(c, sites, env, func(t *target) error {
		if err := onlyLinear(t, "BOFT"); err != nil {
			return err
		}
		b := c.BlockSize
		if b == 0 {
			if t.in%c.BlockNum != 0 {
				return fmt.Errorf("peft: BOFT: %s has %d inputs, which boft_block_num = %d does not divide", t.name, t.in, c.BlockNum)
			}
			b = t.in / c.BlockNum
		}
		factors := c.Factors
		if m.shapeOf != nil {
			if s := m.shapeOf(t.key("boft_R")); len(s) == 4 && s[0] == 1 {
				factors = 1
			}
		}
		if t.in%b != 0 || factors > bits.Len(uint(t.in)) || factors > 1 && (b%2 != 0 || t.in%(b<<(factors-1)) != 0) {
			return fmt.Errorf("peft: BOFT: %s has %d inputs, which blocks of %d with %d butterfly factors do not divide; the block size "+
				"times 2^(factors-1) "+
				"must divide it, and with several factors the block size must be even", t.name, t.in, b, factors)
		}
		n := t.in / b
		rinit, sinit := zeros, ones
		if !c.InitWeights {
			rinit = normal(env.Seed, t.key("boft_R"), 0.1)
			raw := normal(env.Seed, t.key("boft_s"), 0.1)
			sinit = func(d []float32) {
				raw(d)
				for i := range d {
					d[i]++
				}
			}
		}
		t.param("boft_R", rinit, factors, n, b, b)
		t.param("boft_s", sinit, t.out, 1)
		f := &butterfly{scale: columnScale(t.out, 1, t.base().Bias)}
		rot := newCayley(b, 0, false)
		for i := range factors {
			k := &blockRotation{n: n, b: b, name: fmt.Sprintf("%s.%d", t.name, i)}
			if factors == 1 {
				k.dropout = c.Dropout
			} else {
				k.order = butterflyOrder(t.in, n>>i, b/2)
			}
			nn := b * b
			part := func(x []float32) []float32 { return x[i*n*nn : (i+1)*n*nn] }
			k.make = func(pl *pool.Pool, p, r []float32) {
				pl.Run(n, func(j int) { rot.rotateFree(r[j*nn:(j+1)*nn], part(p)[j*nn:(j+1)*nn]) })
			}
			k.back = func(pl *pool.Pool, dp, p, dr []float32) {
				pl.Run(n, func(j int) { rot.rotateFreeBack(part(dp)[j*nn:(j+1)*nn], part(p)[j*nn:(j+1)*nn], dr[j*nn:(j+1)*nn]) })
			}
			f.factors = append(f.factors, k)
		}
		t.form = f
		return nil
	})
}

// butterfly is BOFT's form: the factors one after another before the layer, the scale after it.
type butterfly struct {
	factors []*blockRotation
	scale   transform
}

func (f *butterfly) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref {
	in := append([]nn.Ref{}, s.In...)
	for i := len(f.factors) - 1; i >= 0; i-- { // x·B_m···B_1
		k := f.factors[i].transform()
		in[0] = k.apply(b, t, in[0])
	}
	return f.scale.apply(b, t, b.Apply(s.Op, in...))
}

func (f *butterfly) merge(t *target, p [][]float32, w, _ []float32) error {
	for _, k := range f.factors { // Wᵀ becomes B_m···B_1·Wᵀ
		k.fold(p, w, t.out)
	}
	for i := range w {
		w[i] *= p[1][i/t.in]
	}
	return nil
}

// unmerge implements unmerger.
func (f *butterfly) unmerge(t *target, p [][]float32, w, _ []float32) {
	if w == nil {
		return
	}
	for i := range w {
		w[i] /= p[1][i/t.in]
	}
	for _, k := range slices.Backward(f.factors) {
		k.unfold(p, w, t.out)
	}
}

// butterflyOrder is where the columns of a factor with blocks twice as wide as the last one's go: within each of groups parts of the n
// columns, the even runs of half columns come first, then the odd ones.
func butterflyOrder(n, groups, half int) []int {
	size := n / groups
	order := make([]int, n)
	runs := size / half
	for g := 0; g < n; g += size {
		for to := range runs {
			from := 2 * to
			if to >= (runs+1)/2 {
				from = 2*(to-(runs+1)/2) + 1
			}
			for k := range half {
				// Row to of the permutation matrix has its one in column from; x·P moves column to there.
				order[g+to*half+k] = g + from*half + k
			}
		}
	}
	return order
}
