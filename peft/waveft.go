package peft

import (
	"fmt"
	"math"
	"math/cmplx"
	"sort"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
)

// WaveConfig is HF's WaveFTConfig.
type WaveConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	FanFields
	BiasFields
	NFrequency             int      `json:"n_frequency"`
	Scaling                Float    `json:"scaling"`
	WaveletFamily          string   `json:"wavelet_family"`
	UseIDWT                bool     `json:"use_idwt"`
	RandomLocSeed          uint64   `json:"random_loc_seed"`
	NFrequencyPattern      Patterns `json:"n_frequency_pattern"`
	ProportionalParameters bool     `json:"proportional_parameters"`
	InitWeights            bool     `json:"init_weights"`
}

// waveFT is WaveFT (Bilican et al. 2025, "Exploring Sparsity for Parameter Efficient Fine Tuning Using Wavelets", arXiv:2505.12532): n
// coefficients at random places are trained, and ΔW = scaling·IDWT₂(S), the inverse wavelet transform of one level, or scaling·S without
// use_idwt. The wavelets are Daubechies' db1 (Haar) to db10.
type waveFT struct {
	mergeTuner
	cfg WaveConfig
}

func newWaveFT() Method {
	f := &waveFT{cfg: WaveConfig{Common: newCommon("WAVEFT"), BiasFields: BiasFields{"none"}, NFrequency: 2592, Scaling: 25,
		WaveletFamily: "db1", UseIDWT: true,
		RandomLocSeed: 777, NFrequencyPattern: Patterns{}, InitWeights: true}}
	f.method = "WAVEFT"
	return f
}

func (f *waveFT) Config() any { return &f.cfg }

// Attach implements Method.
func (f *waveFT) Attach(sites []nn.Site, env Env) error {
	c := &f.cfg
	lo, err := daubechies(c.WaveletFamily)
	if err != nil {
		return err
	}
	if err := effective("WAVEFT", "scaling", float64(c.Scaling)); err != nil {
		return err
	}
	return f.attach(c, sites, env, func(t *target) error {
		n, err := frequencies("WAVEFT", c.NFrequency, c.NFrequencyPattern, t)
		if err != nil {
			return err
		}
		if c.ProportionalParameters {
			total := 0
			for _, o := range f.list {
				total += o.in * o.out
			}
			n = max(1, int(math.RoundToEven(float64(t.in*t.out)/float64(total)*float64(c.NFrequency*len(f.list)))))
		}
		start := zeros
		if !c.InitWeights {
			start = normal(env.Seed, t.key("waveft_spectrum"), 0.01)
		}
		t.param("waveft_spectrum", start, n)
		at := places(c.RandomLocSeed, n, t)
		if !c.UseIDWT {
			lo = nil
		}
		atoms := newAtoms(lo, at, t.out, t.in)
		t.form = &delta{
			make: func(_ *pool.Pool, p [][]float32, dw, _ []float32) {
				clear(dw)
				for k, s := range p[0] {
					atoms[k].add(dw, t.in, float32(c.Scaling)*s)
				}
			},
			grad: func(_ *pool.Pool, p, dp [][]float32, g, _ []float32) {
				for k := range dp[0] {
					dp[0][k] += float32(c.Scaling) * atoms[k].dot(g, t.in)
				}
			}}
		return nil
	})
}

// atom is what one coefficient adds to the weight: the outer product of two filters, at a corner.
type atom struct {
	row, col int
	fr, fc   []float32
}

// newAtoms are the atoms of the coefficients at the places of a weight [out, in]. HF centres the weight in a spectrum that is larger by
// what the reconstruction loses, cuts it into four bands, and crops the reconstruction. The right half is high-pass along the rows, the
// lower half along the columns.
func newAtoms(lo []float64, at []int, out, in int) []atom {
	atoms := make([]atom, len(at))
	if lo == nil {
		for k, i := range at {
			atoms[k] = atom{row: i / in, col: i % in, fr: []float32{1}, fc: []float32{1}}
		}
		return atoms
	}
	n := len(lo)
	low, high := make([]float32, n), make([]float32, n)
	for i := range n {
		low[i] = float32(lo[i])
		high[i] = float32(lo[n-1-i])
		if i%2 == 1 {
			high[i] = -high[i]
		}
	}
	pad, crop := n-2, (2*n-3)/2
	band := func(i, size int) (half int, second bool) {
		padded := size + pad
		padded += padded % 2
		i += (padded - size) / 2
		return i % (padded / 2), i >= padded/2
	}
	place := func(i, size int, f []float32) (int, []float32) {
		whole := size + pad
		whole += whole%2 + n - 2 - 2*crop // rows after the reconstruction's own crop
		first := 2*i - crop - max(0, (whole-size)/2)
		if first < 0 {
			f = f[min(-first, n):]
			first = 0
		}
		return first, f[:max(0, min(len(f), size-first))]
	}
	filter := func(second bool) []float32 {
		if second {
			return high
		}
		return low
	}
	for k, i := range at {
		r, bottom := band(i/in, out)
		c, right := band(i%in, in)
		a := &atoms[k]
		a.row, a.fr = place(r, out, filter(right))
		a.col, a.fc = place(c, in, filter(bottom))
	}
	return atoms
}

func (a atom) add(w []float32, cols int, s float32) {
	for y, u := range a.fr {
		row := w[(a.row+y)*cols+a.col:]
		for x, v := range a.fc {
			row[x] += float32(s * u * v)
		}
	}
}

func (a atom) dot(w []float32, cols int) float32 {
	sum := float32(0)
	for y, u := range a.fr {
		row := w[(a.row+y)*cols+a.col:]
		for x, v := range a.fc {
			sum += float32(u * v * row[x])
		}
	}
	return sum
}

// roots are the zeros of Σ c[k]·y^k, all at once by the iteration of Weierstrass (Durand 1960, Kerner 1966): mat.Eigen of the companion
// matrix gives the same, and takes 300 KB of every program.
func roots(c []float64) (ys []complex128, ok bool) {
	n := len(c) - 1
	for y := complex(1, 0); len(ys) < n; y *= complex(0.4, 0.9) {
		ys = append(ys, y)
	}
	for range 200 {
		ok = true
		for i, y := range ys {
			p, q := complex(c[n], 0), complex(c[n], 0)
			for k := n - 1; k >= 0; k-- {
				p = p*y + complex(c[k], 0)
			}
			for k, other := range ys {
				if k != i {
					q *= y - other
				}
			}
			ys[i] = y - p/q
			ok = ok && cmplx.Abs(p/q) <= 1e-15*cmplx.Abs(y)
		}
		if ok {
			return ys, true
		}
	}
	for i, y := range ys { // the last bits may go on changing
		ok = ok || i == 0
		p := complex(c[n], 0)
		for k := n - 1; k >= 0; k-- {
			p = p*y + complex(c[k], 0)
		}
		ok = ok && cmplx.Abs(p) < 1e-10
	}
	return ys, ok
}

// daubechies is the reconstruction low-pass filter of Daubechies' wavelet dbN (Ten Lectures on Wavelets, 1992, chapter 6): the spectral
// factor with all zeros inside the unit circle, 2N values whose sum is √2.
func daubechies(name string) ([]float64, error) {
	s := strings.ToLower(name)
	if s == "haar" {
		s = "db1"
	}
	n, err := strconv.Atoi(strings.TrimPrefix(s, "db"))
	if err != nil || !strings.HasPrefix(s, "db") || n < 1 || n > 10 {
		return nil, fmt.Errorf("peft: WAVEFT: wavelet_family = %q: adaptflow has haar and db1 to db10", name)
	}
	// P(y) = Σ C(N-1+k, k)·y^k with y = (2 - z - 1/z)/4.
	zs := []complex128{}
	if n > 1 {
		c := make([]float64, n)
		c[0] = 1
		for k := 1; k < n; k++ {
			c[k] = c[k-1] * float64(n-1+k) / float64(k)
		}
		ys, ok := roots(c)
		if !ok {
			return nil, fmt.Errorf("peft: WAVEFT: the zeros of %s were not found", name)
		}
		for _, y := range ys {
			b := 1 - 2*y
			z := b + cmplx.Sqrt(b*b-1)
			if cmplx.Abs(z) > 1 {
				z = 1 / z
			}
			zs = append(zs, z)
		}
	}
	sort.Slice(zs, func(i, j int) bool {
		return real(zs[i]) < real(zs[j]) || real(zs[i]) == real(zs[j]) && imag(zs[i]) < imag(zs[j])
	})
	poly := []complex128{1}
	times := func(z complex128) {
		next := make([]complex128, len(poly)+1)
		for i, v := range poly {
			next[i] += v
			next[i+1] -= v * z
		}
		poly = next
	}
	for range n {
		times(-1)
	}
	for _, z := range zs {
		times(z)
	}
	h, sum := make([]float64, len(poly)), 0.0
	for i, v := range poly {
		h[i] = real(v)
		sum += h[i]
	}
	for i := range h {
		h[i] *= math.Sqrt2 / sum
	}
	return h, nil
}
