package preference

import (
	"errors"
	"fmt"
	"math"
	"sort"
)

// GRPO are the settings of group relative policy optimisation and what has come of it, under TRL's names: an answer's tokens become
// likelier by how much its reward is above the others' of its group, while the ratio to their probability when they were sampled stays
// near 1.
type GRPO struct {
	Beta                float64 `json:"beta" help:"weight of the distance from the reference; 0 for no reference"`
	LossType            string  `json:"loss_type" help:"grpo, bnpo, dr_grpo, dapo, cispo, sapo, luspo or vespo: what of a token counts, and what the sum is divided by"`
	Epsilon             float64 `json:"epsilon" help:"how far a ratio may fall below 1, and rise above it where epsilon_high is 0"`
	EpsilonHigh         float64 `json:"epsilon_high" help:"how far a ratio may rise above 1; of cispo the largest ratio; 0 for epsilon"`
	Delta               float64 `json:"delta" help:"the largest ratio of the term that is not clipped; 0 for none"`
	ImportanceSampling  string  `json:"importance_sampling_level" help:"token: each has its ratio; sequence: all have that of the answer, by the mean (GSPO)"`
	BiasCorrection      bool    `json:"use_bias_correction_kl" help:"weigh the distance from the reference by the ratio, too"`
	TopEntropyQuantile  float64 `json:"top_entropy_quantile" help:"the share of the tokens that count, those of the highest entropy"`
	MaxCompletionLength int     `json:"max_completion_length" help:"tokens of an answer at most"`
	SAPOTemperaturePos  float64 `json:"sapo_temperature_pos" help:"of sapo: how soon a ratio counts less, of answers that are better than the others"`
	SAPOTemperatureNeg  float64 `json:"sapo_temperature_neg" help:"the same, of answers that are not"`
	VESPOKPos           float64 `json:"vespo_k_pos" help:"of vespo: the power of the ratio, of answers that are better than the others"`
	VESPOLambdaPos      float64 `json:"vespo_lambda_pos" help:"of vespo: what the exponential of the ratio falls by, of these"`
	VESPOKNeg           float64 `json:"vespo_k_neg" help:"the power, of answers that are not"`
	VESPOLambdaNeg      float64 `json:"vespo_lambda_neg" help:"what the exponential falls by, of these"`
}

// NewGRPO are TRL's defaults.
func NewGRPO() GRPO {
	return GRPO{LossType: "dapo", Epsilon: 0.2, ImportanceSampling: "token", BiasCorrection: true, TopEntropyQuantile: 1,
		MaxCompletionLength: 512, SAPOTemperaturePos: 1, SAPOTemperatureNeg: 1.05, VESPOKPos: 2, VESPOLambdaPos: 3, VESPOKNeg: 3,
		VESPOLambdaNeg: 2}
}

// grpoTerm is what an answer's tokens have in common.
type grpoTerm struct {
	advantage float64
	phi       float64 // of vespo
}

// grpoLoss is a row of loss_type.
type grpoLoss struct {
	key, doc string
	// token is the loss of a token of a ratio, its derivative in the ratio, and that in log p beside it.
	token func(o *GRPO, t *grpoTerm, ratio, logp float64) (loss, inRatio, inLogP float64)
	// per is what the sum over an answer's n tokens is multiplied by; the loss of a batch is the mean over its answers of that.
	per func(o *GRPO, a *Rollout, rows, tokens int) float64
}

func (l grpoLoss) name() string { return l.key }

var grpoLosses = []grpoLoss{
	{"grpo", "Shao et al. 2024, arXiv:2402.03300", (*GRPO).clip, perAnswer},
	{"bnpo", "the mean over the tokens of a batch", (*GRPO).clip, func(_ *GRPO, _ *Rollout, rows, tokens int) float64 {
		return float64(rows) / float64(max(1, tokens))
	}},
	{"dr_grpo", "Liu et al. 2025, arXiv:2503.20783", (*GRPO).clip, func(o *GRPO, _ *Rollout, _, _ int) float64 {
		return 1 / float64(max(1, o.MaxCompletionLength))
	}},
	{"dapo", "Yu et al. 2025, arXiv:2503.14476", (*GRPO).clip, perSampled},
	{"cispo", "MiniMax 2025, arXiv:2506.13585", func(o *GRPO, t *grpoTerm, ratio, logp float64) (float64, float64, float64) {
		w := min(ratio, o.most()) * t.advantage
		return -w * logp, 0, -w
	}, perSampled},
	{"sapo", "Gao et al. 2025, arXiv:2511.20347", func(o *GRPO, t *grpoTerm, ratio, _ float64) (float64, float64, float64) {
		tau := o.SAPOTemperatureNeg
		if t.advantage > 0 {
			tau = o.SAPOTemperaturePos
		}
		s := sigmoid(tau * (ratio - 1))
		return -4 * s / tau * t.advantage, -4 * s * (1 - s) * t.advantage, 0
	}, perAnswer},
	{"luspo", "the sum over an answer's tokens", (*GRPO).clip, func(*GRPO, *Rollout, int, int) float64 { return 1 }},
	{"vespo", "a gamma weight of the whole answer's ratio", func(_ *GRPO, t *grpoTerm, _, logp float64) (float64, float64, float64) {
		w := t.phi * t.advantage
		return -w * logp, 0, -w
	}, perSampled},
}

func perAnswer(_ *GRPO, a *Rollout, _, _ int) float64 { return 1 / float64(max(1, len(a.LogP))) }

func perSampled(_ *GRPO, a *Rollout, _, _ int) float64 { return 1 / max(1, a.Length) }

// most is epsilon_high, which is epsilon where it is 0.
func (o *GRPO) most() float64 {
	if o.EpsilonHigh == 0 {
		return o.Epsilon
	}
	return o.EpsilonHigh
}

// delta caps a ratio, and says how it moves with it.
func (o *GRPO) delta(ratio float64) (c, slope float64) {
	if o.Delta > 0 && ratio > o.Delta {
		return o.Delta, 0
	}
	return ratio, 1
}

func (o *GRPO) clip(t *grpoTerm, ratio, _ float64) (loss, inRatio, inLogP float64) {
	c, slope := o.delta(ratio)
	loss, g := clipped(ratio, c, slope, 1-o.Epsilon, 1+o.most(), t.advantage)
	return loss, g, 0
}

// Check says what is wrong with the settings.
func (o *GRPO) Check() error {
	_, err := find(grpoLosses, "loss_type", o.LossType)
	if o.ImportanceSampling != "token" && o.ImportanceSampling != "sequence" {
		err = errors.Join(err, fmt.Errorf("importance_sampling_level is %q; it must be token or sequence", o.ImportanceSampling))
	}
	if o.Delta != 0 {
		err = errors.Join(err, positive("delta", o.Delta))
	}
	if o.TopEntropyQuantile != 1 {
		err = errors.Join(err, positive("top_entropy_quantile", o.TopEntropyQuantile),
			share("top_entropy_quantile", o.TopEntropyQuantile, 1))
	}
	return errors.Join(err, atLeast("beta", o.Beta, 0), between("epsilon", o.Epsilon, 0, 1), atLeast("epsilon_high", o.EpsilonHigh, 0),
		atLeast("max_completion_length", float64(o.MaxCompletionLength), 1), positive("sapo_temperature_pos", o.SAPOTemperaturePos),
		positive("sapo_temperature_neg", o.SAPOTemperatureNeg))
}

// Whole says that the loss is over a batch as a whole.
func (o *GRPO) Whole() bool { return o.LossType == "bnpo" || o.TopEntropyQuantile < 1 }

// Shared says that the loss goes by the Length of what was sampled together.
func (o *GRPO) Shared() bool {
	return o.LossType == "dapo" || o.LossType == "cispo" || o.LossType == "vespo"
}

// phi is the weight of vespo, with no derivative.
func (o *GRPO) phi(a *Rollout) float64 {
	each, _ := a.ratios()
	sum := 0.0
	for _, x := range each {
		sum += min(max(x, -20), 20)
	}
	k, lambda := o.VESPOKNeg, o.VESPOLambdaNeg
	if a.Advantage >= 0 {
		k, lambda = o.VESPOKPos, o.VESPOLambdaPos
	}
	lambda = max(lambda, 1e-4)
	w := min(max(sum, math.Log(1e-8)), 20)
	phi := math.Exp(lambda + k*w - lambda*math.Exp(w))
	if math.IsInf(phi, 0) || math.IsNaN(phi) {
		return 0
	}
	return phi
}

// threshold is the entropy that a token needs to count.
func (o *GRPO) threshold(rows []Rollout) float64 {
	if o.TopEntropyQuantile >= 1 {
		return math.Inf(-1)
	}
	var all []float64
	for i := range rows {
		for _, x := range rows[i].Entropy {
			all = append(all, float64(x))
		}
	}
	return quantile(all, 1-o.TopEntropyQuantile)
}

// quantile is between the two nearest values, as numpy's and torch's.
func quantile(x []float64, q float64) float64 {
	if len(x) == 0 {
		return math.Inf(1)
	}
	sort.Float64s(x)
	at := q * float64(len(x)-1)
	i := int(at)
	if i+1 >= len(x) {
		return x[len(x)-1]
	}
	return x[i] + (at-float64(i))*(x[i+1]-x[i])
}

// ratio is that of each token, and how its logarithm moves with log p: with each token's own, or with all of the answer, a share each.
func (o *GRPO) ratio(a *Rollout) (each []float64, own bool, shared float64) {
	each, sum := a.ratios()
	n := float64(max(1, len(each)))
	for i := range each {
		if o.ImportanceSampling == "sequence" {
			each[i] = sum / n
		}
		each[i] = math.Exp(each[i])
	}
	return each, o.ImportanceSampling != "sequence", 1 / n
}

// distance is a token's from the reference, by e^d - d - 1 (Schulman 2020), and its derivative in log p.
func distance(logp, ref float32) (kl, slope float64) {
	d := float64(ref) - float64(logp)
	e := math.Exp(d)
	return e - d - 1, 1 - e
}

// Loss adds to slopes, one a token, the derivatives of the loss of the answers, and returns it: the mean times their number.
func (o *GRPO) Loss(rows []Rollout, slopes [][]float64) (sum float64) {
	l, err := find(grpoLosses, "loss_type", o.LossType)
	if err != nil {
		panic(err)
	}
	tokens := 0
	for i := range rows {
		tokens += len(rows[i].LogP)
	}
	threshold := o.threshold(rows)
	for i := range rows {
		a := &rows[i]
		t := grpoTerm{advantage: a.Advantage}
		if o.LossType == "vespo" {
			t.phi = o.phi(a)
		}
		per := l.per(o, a, len(rows), tokens)
		ratios, own, part := o.ratio(a)
		shared := 0.0
		for k, w := range ratios {
			inRatio, inLogP := 0.0, 0.0
			if a.Entropy == nil || float64(a.Entropy[k]) >= threshold {
				loss, r, p := l.token(o, &t, w, float64(a.LogP[k]))
				sum += per * loss
				inRatio, inLogP = r, p
			}
			if o.Beta != 0 {
				kl, slope := distance(a.LogP[k], a.Ref[k])
				if o.BiasCorrection {
					inRatio += o.Beta * kl
					kl, slope = kl*w, slope*w
				}
				sum += per * o.Beta * kl
				inLogP += o.Beta * slope
			}
			slopes[i][k] += per * inLogP
			if own {
				slopes[i][k] += per * inRatio * w
			} else {
				shared += per * inRatio * w * part
			}
		}
		for k := range ratios {
			slopes[i][k] += shared
		}
	}
	return sum
}

// Measure tells of a batch what TRL tells of it.
func (o *GRPO) Measure(rows []Rollout) (m RolloutMetrics) {
	m.LowMin, m.HighMax = math.Inf(1), math.Inf(-1)
	for i := range rows {
		a := &rows[i]
		ratios, own, _ := o.ratio(a)
		if o.LossType == "vespo" {
			m.Phi.add(o.phi(a), 1)
		}
		var low, high Sampled
		for k, w := range ratios {
			if o.Beta != 0 {
				kl, _ := distance(a.LogP[k], a.Ref[k])
				if o.BiasCorrection {
					kl *= w
				}
				m.KL.add(kl, 1)
			}
			if !own && k > 0 {
				continue // all are one
			}
			c, _ := o.delta(w)
			low.add(flag(c < 1-o.Epsilon && a.Advantage < 0), 1)
			high.add(flag(c > 1+o.most() && a.Advantage > 0), 1)
			m.CISPO.add(flag(w > o.most() && a.Advantage > 0), 1)
		}
		if low.N == 0 {
			continue
		}
		m.Low.add(low.Sum, low.N)
		m.High.add(high.Sum, high.N)
		m.Region.add(low.Sum+high.Sum, low.N)
		m.LowMin, m.HighMax = min(m.LowMin, low.Mean()), max(m.HighMax, high.Mean())
	}
	return m
}
