package peft

import (
	"fmt"
	"math"
	"sync"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/torchrand"
	"github.com/adaptflow/adaptflow/nn"
	"gonum.org/v1/gonum/dsp/fourier"
)

// FourierConfig is HF's FourierFTConfig.
type FourierConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	FanFields
	BiasFields
	NFrequency        int      `json:"n_frequency"`
	Scaling           Float    `json:"scaling"`
	RandomLocSeed     uint64   `json:"random_loc_seed"`
	NFrequencyPattern Patterns `json:"n_frequency_pattern"`
	InitWeights       bool     `json:"init_weights"`
}

// fourierFT is FourierFT (Gao et al. 2024, "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", arXiv:2405.03003): n
// coefficients at random places of a spectrum [out, in] are trained, ΔW = scaling·Re(IDFT₂(S)). The places are those of torch.randperm with
// random_loc_seed.
type fourierFT struct {
	mergeTuner
	cfg FourierConfig
}

func newFourierFT() Method {
	f := &fourierFT{cfg: FourierConfig{Common: newCommon("FOURIERFT"), BiasFields: BiasFields{"none"}, NFrequency: 1000, Scaling: 150,
		RandomLocSeed:     777,
		NFrequencyPattern: Patterns{}}}
	f.method = "FOURIERFT"
	return f
}

func (f *fourierFT) Config() any { return &f.cfg }

// Attach implements Method.
func (f *fourierFT) Attach(sites []nn.Site, env Env) error {
	c := &f.cfg
	if err := effective("FOURIERFT", "scaling", float64(c.Scaling)); err != nil {
		return err
	}
	return f.attach(c, sites, env, func(t *target) error {
		n, err := frequencies("FOURIERFT", c.NFrequency, c.NFrequencyPattern, t)
		if err != nil {
			return err
		}
		start := zeros
		if !c.InitWeights {
			start = normal(env.Seed, t.key("fourierft_spectrum"), 1)
		}
		t.param("fourierft_spectrum", start, n)
		at := places(c.RandomLocSeed, n, t)
		dft := newRealDFT(t.out, t.in)
		scale := float64(c.Scaling) / float64(t.out*t.in)
		t.form = &delta{
			make: func(_ *pool.Pool, p [][]float32, dw, _ []float32) {
				clear(dw)
				for k, s := range p[0] {
					dw[at[k]] = s
				}
				dft.transform(dw, scale)
			},
			// The real part of the transform is a symmetric matrix of cosines, so that it is its own adjoint.
			grad: func(_ *pool.Pool, p, dp [][]float32, g, _ []float32) {
				dft.transform(g, scale)
				for k := range dp[0] {
					dp[0][k] += g[at[k]]
				}
			}}
		return nil
	})
}

// frequencies resolves n_frequency_pattern for a target, and refuses numbers that do not fit.
func frequencies(method string, n int, ps Patterns, t *target) (int, error) {
	v, err := pattern("n_frequency_pattern", ps, t.name, float64(n))
	if err != nil {
		return 0, err
	}
	if v < 1 || v != math.Trunc(v) || v > float64(t.in*t.out) {
		return 0, fmt.Errorf("peft: %s: n_frequency = %g for %s; it must be a whole number from 1 to %d, the size of its weight", method, v,
			t.name, t.in*t.out)
	}
	return int(v), nil
}

// places are the indices of n entries of the weight [out, in], drawn without replacement.
func places(seed uint64, n int, t *target) []int { return torchrand.New(seed).Perm(t.out * t.in)[:n] }

// realDFT is the real part of the two-dimensional discrete Fourier transform of a real matrix.
type realDFT struct {
	rows, cols int
	work       sync.Pool // of *dftWork
}

type dftWork struct {
	alongRow, alongCol *fourier.CmplxFFT
	grid, line         []complex128
}

func newRealDFT(rows, cols int) *realDFT {
	return &realDFT{rows: rows, cols: cols, work: sync.Pool{New: func() any {
		return &dftWork{alongRow: fourier.NewCmplxFFT(cols), alongCol: fourier.NewCmplxFFT(rows), grid: make([]complex128, rows*cols),
			line: make([]complex128, max(rows, cols))}
	}}}
}

// transform replaces x [rows, cols] by scale·Re(DFT₂(x)).
func (d *realDFT) transform(x []float32, scale float64) {
	w := d.work.Get().(*dftWork)
	defer d.work.Put(w)
	for r := range d.rows {
		line := w.line[:d.cols]
		some := false
		for c, v := range x[r*d.cols : (r+1)*d.cols] {
			line[c] = complex(float64(v), 0)
			some = some || v != 0
		}
		if some {
			w.alongRow.Coefficients(w.grid[r*d.cols:(r+1)*d.cols], line)
		} else {
			clear(w.grid[r*d.cols : (r+1)*d.cols])
		}
	}
	for c := range d.cols {
		line := w.line[:d.rows]
		for r := range line {
			line[r] = w.grid[r*d.cols+c]
		}
		w.alongCol.Coefficients(line, line)
		for r, v := range line {
			x[r*d.cols+c] = float32(scale * real(v))
		}
	}
}
