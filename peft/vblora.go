package peft

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// VbloraConfig is HF's VBLoRAConfig.
type VbloraConfig struct {
	Common
	TargetFields
	ExcludeFields
	LayerFields
	FanFields
	BiasFields
	R                   int     `json:"r"`
	NumVectors          int     `json:"num_vectors"`
	VectorLength        int     `json:"vector_length"`
	TopK                int     `json:"topk"`
	SaveOnlyTopkWeights bool    `json:"save_only_topk_weights"`
	VbloraDropout       Float   `json:"vblora_dropout"`
	InitVectorBankBound float64 `json:"init_vector_bank_bound"`
	InitLogitsStd       float64 `json:"init_logits_std"`
}

// vblora is VB-LoRA (Li et al. 2024, "VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks", arXiv:2405.15179): LoRA's A and
// B are cut into sub-vectors of vector_length, each a mixture of the topk vectors of a bank shared by all targets, weighted by the softmax
// of their trained logits. save_only_topk_weights stores the mixtures in place of the logits; such a folder cannot be trained further.
type vblora struct {
	mergeTuner
	cfg VbloraConfig
}

func newVblora() Method {
	v := &vblora{cfg: VbloraConfig{Common: newCommon("VBLORA"), BiasFields: BiasFields{"none"}, R: 4, NumVectors: 256,
		VectorLength: 256, TopK: 2,
		InitVectorBankBound: 0.02, InitLogitsStd: 0.1}}
	v.method = "VBLORA"
	return v
}

func (v *vblora) Config() any { return &v.cfg }

// Attach implements Method.
func (v *vblora) Attach(sites []nn.Site, env Env) error {
	c := &v.cfg
	if err := firstError(atLeast("VBLORA", "r", c.R, 1), atLeast("VBLORA", "topk", c.TopK, 1),
		atLeast("VBLORA", "num_vectors", c.NumVectors, 1),
		atLeast("VBLORA", "vector_length", c.VectorLength, 1), probability("VBLORA", "vblora_dropout", c.VbloraDropout),
		notNegative("VBLORA", "init_logits_std", c.InitLogitsStd), notNegative("VBLORA", "init_vector_bank_bound", c.InitVectorBankBound),
		effective("VBLORA", "init_vector_bank_bound", c.InitVectorBankBound)); err != nil {
		return err
	}
	if c.TopK > c.NumVectors {
		return fmt.Errorf("peft: VBLORA: topk = %d of num_vectors = %d; it must not be more", c.TopK, c.NumVectors)
	}
	var bank *Param
	return v.attach(c, sites, env, func(t *target) error {
		l, n, r := c.VectorLength, c.NumVectors, c.R
		if t.in%l != 0 || t.out%l != 0 {
			return fmt.Errorf("peft: VBLORA: vector_length = %d does not divide the %d inputs and %d outputs of %s; "+
				"choose a common divisor", l, t.in, t.out, t.name)
		}
		if bank == nil {
			key := "base_model.vblora_vector_bank"
			bank = newParam(t.key("vblora_vector_bank"), key, uniformWithin(env.Seed, key, c.InitVectorBankBound), n, l)
		}
		t.param("vblora_logits_A", normal(env.Seed, t.key("vblora_logits_A"), c.InitLogitsStd), r, t.in/l, n)
		t.param("vblora_logits_B", normal(env.Seed, t.key("vblora_logits_B"), c.InitLogitsStd), t.out/l, r, n)
		t.params = append(t.params, bank)
		cells, ia := r*t.in/l, t.in/l
		t.form = &factors{r: r, scale: 1, dropout: c.VbloraDropout,
			make: func(p [][]float32, a, b []float32) {
				mix := newMixture(c.TopK, l)
				for i := range cells { // A's rows are whole sub-vectors
					mix.choose(p[0][i*n : (i+1)*n])
					mix.add(p[2], a[i*l:(i+1)*l], 1)
				}
				for i := range t.out / l * r { // B's columns are
					mix.choose(p[1][i*n : (i+1)*n])
					mix.add(p[2], b[i/r*l*r+i%r:], r)
				}
			},
			grad: func(p, dp [][]float32, a, b, da, db []float32) {
				mix := newMixture(c.TopK, l)
				for i := range r * ia {
					mix.choose(p[0][i*n : (i+1)*n])
					mix.grad(p[2], cut(dp[0], i, n), dp[2], da[i*l:(i+1)*l], 1)
				}
				for i := range t.out / l * r {
					mix.choose(p[1][i*n : (i+1)*n])
					mix.grad(p[2], cut(dp[1], i, n), dp[2], db[i/r*l*r+i%r:], r)
				}
			}}
		return nil
	})
}

// The suffixes of what save_only_topk_weights stores for a parameter of logits.
const (
	topkIndices = "_topk_indices"
	topkWeights = "_topk_weights"
)

func (v *vblora) saving(int) {}

func (v *vblora) mixtures(p *Param) bool { return v.cfg.SaveOnlyTopkWeights && len(p.Shape) == 3 }

// stored implements storer: with save_only_topk_weights the chosen vectors, in the narrowest integers that HF uses, and all weights but the
// last.
func (v *vblora) stored(p *Param, x []float32, _ int) []safetensors.Tensor {
	if !v.mixtures(p) {
		return nil
	}
	n, k := v.cfg.NumVectors, v.cfg.TopK
	dtype, width := "I32", 4
	switch {
	case n < 1<<8:
		dtype, width = "U8", 1
	case n < 1<<15:
		dtype, width = "I16", 2
	}
	var raw []byte
	weights := []float32{}
	mix := newMixture(k, 0)
	for i := range len(x) / n {
		mix.choose(x[i*n : (i+1)*n])
		for _, j := range mix.at {
			raw = append(raw, binary.LittleEndian.AppendUint32(nil, uint32(j))[:width]...)
		}
		weights = append(weights, mix.w[:k-1]...)
	}
	a, b := p.Shape[0], p.Shape[1]
	return []safetensors.Tensor{{Name: p.Key + topkIndices, DType: dtype, Shape: []int{a, b, k}, Raw: raw},
		safetensors.F32(p.Key+topkWeights, weights, a, b, k-1)}
}

// restored implements storer: logits that give the same mixtures, minus infinity for vectors that are not chosen.
func (v *vblora) restored(p *Param, f safetensors.Source, path string) ([]float32, []string, error) {
	if !v.mixtures(p) {
		return nil, nil, nil
	}
	n, k := v.cfg.NumVectors, v.cfg.TopK
	ki, kw := p.Key+topkIndices, p.Key+topkWeights
	w, err := tensor(f, path, kw, []int{p.Shape[0], p.Shape[1], k - 1})
	if err != nil {
		return nil, nil, err
	}
	at, err := integers(f, path, ki, []int{p.Shape[0], p.Shape[1], k})
	if err != nil {
		return nil, nil, err
	}
	cells := p.Size() / n
	x := make([]float32, p.Size())
	for i := range x {
		x[i] = float32(math.Inf(-1))
	}
	for c := range cells {
		left := 1.0
		for j := range k {
			i := at[c*k+j]
			if i < 0 || int(i) >= n {
				return nil, nil, fmt.Errorf("peft: %s: tensor %q names vector %g of a bank of %d", path, ki, i, n)
			}
			share := left
			if j < k-1 {
				share = float64(w[c*(k-1)+j])
				left -= share
			}
			x[c*n+int(i)] = float32(math.Log(share))
		}
	}
	return x, []string{ki, kw}, nil
}
