package preference

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// DPO are the settings of direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) and of its variants, under TRL's names.
type DPO struct {
	Beta                 float64   `json:"beta" help:"how strongly the policy is held to the reference: the larger, the closer"`
	LossType             Names     `json:"loss_type" help:"losses, of which the weighted sum is taken: sigmoid, hinge, ipo, exo_pair, nca_pair, robust, bco_pair, sppo_hard, aot, aot_unpaired, apo_zero, apo_down, discopop, sft, sigmoid_norm"`
	LossWeights          []float64 `json:"loss_weights" help:"a weight for each of loss_type; none for 1 each"`
	LabelSmoothing       float64   `json:"label_smoothing" help:"probability that a pair is the wrong way round: of robust, exo_pair, aot and aot_unpaired"`
	LDAlpha              float64   `json:"ld_alpha" help:"what a token beyond the length of the shorter answer counts, from 0 to 1 (LD-DPO)"`
	FDivergenceType      string    `json:"f_divergence_type" help:"divergence from the reference: reverse_kl, forward_kl, js_divergence, alpha_divergence"`
	FAlphaDivergenceCoef float64   `json:"f_alpha_divergence_coef" help:"the coefficient of alpha_divergence"`
	UseWeighting         bool      `json:"use_weighting" help:"weigh pairs by how likely the policy finds their answers (WPO)"`
	DiscopopTau          float64   `json:"discopop_tau" help:"temperature of discopop"`
}

// NewDPO are TRL's defaults.
func NewDPO() DPO {
	return DPO{Beta: 0.1, LossType: Names{"sigmoid"}, LossWeights: []float64{}, LDAlpha: 1,
		FDivergenceType: "reverse_kl", FAlphaDivergenceCoef: 0.5, DiscopopTau: 0.05}
}

// pair is a pair with the scores that the divergence gives its answers.
type pair struct {
	rc, rr float64 // log-ratios to the reference
	sc, sr float64 // their scores
	nc, nr float64 // tokens
}

// dpoLoss is a row of loss_type. It has one of pair and batch.
type dpoLoss struct {
	key string
	doc string
	// pair is the loss of a pair, and its derivatives; scored says that they are in the scores, not in the log-ratios.
	scored bool
	pair   func(o *DPO, p *pair) (loss, chosen, rejected float64)
	// batch is of losses over a batch as a whole: it adds to the pairs' own.
	batch func(o *DPO, pairs []Pair, weight float64, out []Grad)
	// smooth says that label_smoothing is read, between that it must be above 0.
	smooth, between bool
}

func (l dpoLoss) name() string { return l.key }

// dpoLosses is the table of loss_type.
var dpoLosses = []dpoLoss{
	{key: "sigmoid", doc: "DPO: Rafailov et al. 2023, arXiv:2305.18290", scored: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			loss, g := smoothed(o.Beta*(p.sc-p.sr), 0)
			return loss, o.Beta * g, -o.Beta * g
		}},
	{key: "hinge", doc: "SLiC: Zhao et al. 2023, arXiv:2305.10425", scored: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			if x := 1 - o.Beta*(p.sc-p.sr); x > 0 {
				return x, -o.Beta, o.Beta
			}
			return 0, 0, 0
		}},
	{key: "ipo", doc: "IPO: Azar et al. 2023, arXiv:2310.12036", scored: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			x := p.sc/p.nc - p.sr/p.nr - 1/(2*o.Beta)
			return x * x, 2 * x / p.nc, -2 * x / p.nr
		}},
	{key: "exo_pair", doc: "EXO: Ji et al. 2024, arXiv:2402.00856", scored: true, smooth: true, between: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			x := o.Beta * (p.sc - p.sr)
			win, lose := sigmoid(x), sigmoid(-x)
			a := logSigmoid(x) - math.Log1p(-o.LabelSmoothing)
			b := logSigmoid(-x) - math.Log(o.LabelSmoothing)
			g := o.Beta * win * lose * (a - b) // the terms beside it cancel
			return win*a + lose*b, g, -g
		}},
	{key: "nca_pair", doc: "NCA: Chen et al. 2024, arXiv:2402.05369",
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			c, r := o.Beta*p.rc, o.Beta*p.rr
			loss := -logSigmoid(c) - 0.5*logSigmoid(-c) - 0.5*logSigmoid(-r)
			return loss, o.Beta * (0.5*sigmoid(c) - sigmoid(-c)), o.Beta * 0.5 * sigmoid(r)
		}},
	{key: "robust", doc: "robust DPO: Chowdhury et al. 2024, arXiv:2403.00409", scored: true, smooth: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			x, e := o.Beta*(p.sc-p.sr), o.LabelSmoothing
			loss := (-(1-e)*logSigmoid(x) + e*logSigmoid(-x)) / (1 - 2*e)
			g := o.Beta * (-(1-e)*sigmoid(-x) - e*sigmoid(x)) / (1 - 2*e)
			return loss, g, -g
		}},
	{key: "bco_pair", doc: "BCO: Jung et al. 2024, arXiv:2404.04656",
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			c, r := o.Beta*p.rc, o.Beta*p.rr
			return -logSigmoid(c) - logSigmoid(-r), -o.Beta * sigmoid(-c), o.Beta * sigmoid(r)
		}},
	{key: "sppo_hard", doc: "SPPO: Wu et al. 2024, arXiv:2405.00675",
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			c, r := p.rc-0.5/o.Beta, p.rr+0.5/o.Beta
			return c*c + r*r, 2 * c, 2 * r
		}},
	{key: "aot", doc: "AOT: Melnyk et al. 2024, arXiv:2406.05882", smooth: true, batch: aot},
	{key: "aot_unpaired", doc: "AOT of answers that are not pairs, the same", smooth: true, batch: aotUnpaired},
	{key: "apo_zero", doc: "APO: D'Oosterlinck et al. 2024, arXiv:2408.06266",
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			c, r := sigmoid(o.Beta*p.rc), sigmoid(o.Beta*p.rr)
			return 1 - c + r, -o.Beta * c * (1 - c), o.Beta * r * (1 - r)
		}},
	{key: "apo_down", doc: "APO where the chosen answers are worse than the model's, the same",
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			c, d := sigmoid(o.Beta*p.rc), sigmoid(o.Beta*(p.rc-p.rr))
			return c + 1 - d, o.Beta * (c*(1-c) - d*(1-d)), o.Beta * d * (1 - d)
		}},
	{key: "discopop", doc: "DiscoPOP: Lu et al. 2024, arXiv:2406.08414", scored: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			x := o.Beta * (p.sc - p.sr)
			m := sigmoid(x / o.DiscopopTau)
			slope := m * (1 - m) / o.DiscopopTau
			a, b := -logSigmoid(x), math.Exp(-x)
			g := o.Beta * (-sigmoid(-x)*(1-m) - a*slope - b*m + b*slope)
			return a*(1-m) + b*m, g, -g
		}},
	{key: "sft", doc: "the likelihood of the chosen answers, as beside it in RPO: Liu et al. 2024, arXiv:2405.16436", batch: sftLoss},
	{key: "sigmoid_norm", doc: "DPO by means over tokens: Lambert et al. 2024, arXiv:2411.15124", scored: true,
		pair: func(o *DPO, p *pair) (float64, float64, float64) {
			loss, g := smoothed(o.Beta*(p.sc/p.nc-p.sr/p.nr), 0)
			return loss, o.Beta * g / p.nc, -o.Beta * g / p.nr
		}},
}

// Check says what is wrong with the settings.
func (o *DPO) Check() error {
	if len(o.LossType) == 0 {
		return errors.New("loss_type is empty; it must name at least one loss")
	}
	if n := len(o.LossWeights); n > 0 && n != len(o.LossType) {
		return fmt.Errorf("loss_weights has %d weights for %d of loss_type; give as many, or none for 1 each", n, len(o.LossType))
	}
	if err := errors.Join(positive("beta", o.Beta), share("label_smoothing", o.LabelSmoothing, 0.5)); err != nil {
		return err
	}
	if !(o.LDAlpha >= 0 && o.LDAlpha <= 1) {
		return fmt.Errorf("ld_alpha is %g; it must be from 0 to 1", o.LDAlpha)
	}
	if _, err := find(divergences, "f_divergence_type", o.FDivergenceType); err != nil {
		return err
	}
	read := false
	for _, name := range o.LossType {
		l, err := find(dpoLosses, "loss_type", name)
		if err != nil {
			return err
		}
		read = read || l.smooth
		switch {
		case l.between && o.LabelSmoothing == 0:
			return fmt.Errorf("loss_type %s takes a label_smoothing above 0, such as 0.001", name)
		case o.UseWeighting && l.batch != nil && name != "sft":
			return fmt.Errorf("use_weighting weighs pairs, and loss_type %s compares sorted answers of the whole batch: take one of both",
				name)
		case name == "discopop":
			if err := positive("discopop_tau", o.DiscopopTau); err != nil {
				return err
			}
		}
	}
	if o.LabelSmoothing > 0 && !read {
		return fmt.Errorf("label_smoothing is %g, and no loss of %v reads it: take loss_type robust, or 0", o.LabelSmoothing, o.LossType)
	}
	return nil
}

// Whole says that a loss of the list is over a batch as a whole, not over its pairs one by one.
func (o *DPO) Whole() bool {
	return slices.ContainsFunc(o.LossType, func(name string) bool {
		l, err := find(dpoLosses, "loss_type", name)
		return err == nil && l.batch != nil
	})
}

// Weight is what token i of an answer counts, from 0, where the shorter of the pair's answers has shared tokens.
func (o *DPO) Weight(i, shared int) float64 {
	if i >= shared {
		return o.LDAlpha
	}
	return 1
}

// Pairs adds to out, one a pair, the losses and their derivatives. The settings have been checked.
func (o *DPO) Pairs(pairs []Pair, out []Grad) {
	d, err := find(divergences, "f_divergence_type", o.FDivergenceType)
	for k, name := range o.LossType {
		l, err2 := find(dpoLosses, "loss_type", name)
		if err != nil || err2 != nil {
			panic(errors.Join(err, err2))
		}
		weight := 1.0
		if len(o.LossWeights) > 0 {
			weight = o.LossWeights[k]
		}
		if l.batch != nil {
			l.batch(o, pairs, weight, out)
			continue
		}
		for i := range pairs {
			w := weight
			if o.UseWeighting {
				w *= pairs[i].Weight
			}
			loss, dc, dr := o.one(&l, &d, &pairs[i])
			out[i].Loss += w * loss
			out[i].Chosen += w * dc
			out[i].Rejected += w * dr
		}
	}
}

// one is the loss of one pair, and its derivatives in the log-ratios of its answers.
func (o *DPO) one(l *dpoLoss, d *divergence, x *Pair) (loss, dc, dr float64) {
	p := pair{rc: x.Chosen.ratio(), rr: x.Rejected.ratio(), nc: float64(max(1, x.Chosen.N)), nr: float64(max(1, x.Rejected.N))}
	slopeC, slopeR := 1.0, 1.0
	if l.scored {
		p.sc, slopeC = d.score(o, p.rc)
		p.sr, slopeR = d.score(o, p.rr)
	}
	loss, dc, dr = l.pair(o, &p)
	return loss, dc * slopeC, dr * slopeR
}

// Rewards are those of a pair's answers: β times their log-ratios.
func (o *DPO) Rewards(p *Pair) (chosen, rejected float64) {
	return o.Beta * p.Chosen.ratio(), o.Beta * p.Rejected.ratio()
}

// aot compares the distribution of the policy's margins with that of the reference's, each sorted.
func aot(o *DPO, pairs []Pair, weight float64, out []Grad) {
	mine := sorted(len(pairs), func(i int) float64 { return pairs[i].Chosen.LogP - pairs[i].Rejected.LogP })
	ref := sorted(len(pairs), func(i int) float64 { return pairs[i].Chosen.Ref - pairs[i].Rejected.Ref })
	for k, m := range mine {
		loss, g := smoothed(o.Beta*(m.value-ref[k].value), o.LabelSmoothing)
		out[m.index].Loss += weight * loss
		out[m.index].Chosen += weight * o.Beta * g
		out[m.index].Rejected -= weight * o.Beta * g
	}
}

// aotUnpaired compares the distribution of the chosen answers' log-ratios with that of the rejected ones'.
func aotUnpaired(o *DPO, pairs []Pair, weight float64, out []Grad) {
	chosen := sorted(len(pairs), func(i int) float64 { return pairs[i].Chosen.ratio() })
	rejected := sorted(len(pairs), func(i int) float64 { return pairs[i].Rejected.ratio() })
	for k, c := range chosen {
		loss, g := smoothed(o.Beta*(c.value-rejected[k].value), o.LabelSmoothing)
		out[c.index].Loss += weight * loss
		out[c.index].Chosen += weight * o.Beta * g
		out[rejected[k].index].Rejected -= weight * o.Beta * g
	}
}

// sftLoss is the likelihood of all chosen answers, each token counting the same.
func sftLoss(o *DPO, pairs []Pair, weight float64, out []Grad) {
	nll, slope := likelihood(pairs)
	total := 0.0
	for i := range pairs {
		w := weight
		if o.UseWeighting {
			w *= pairs[i].Weight
		}
		total += w
		out[i].Loss += w * nll
	}
	for i := range pairs {
		out[i].Text += total * slope
	}
}

// place is a value and where it was.
type place struct {
	value float64
	index int
}

// sorted are n values in their order, equal ones by their index.
func sorted(n int, value func(int) float64) []place {
	out := make([]place, n)
	for i := range out {
		out[i] = place{value(i), i}
	}
	slices.SortStableFunc(out, func(a, b place) int { return cmp.Compare(a.value, b.value) })
	return out
}
