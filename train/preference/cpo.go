package preference

import (
	"errors"
	"fmt"
	"math"
)

// CPO are the settings of contrastive preference optimisation (Xu et al. 2024, arXiv:2401.08417), SimPO (Meng et al. 2024,
// arXiv:2405.14734) and AlphaPO (Gupta et al. 2025, arXiv:2501.03884), under TRL's names. There is no reference.
type CPO struct {
	Beta           float64 `json:"beta" help:"how much a difference of log-probabilities counts"`
	LossType       string  `json:"loss_type" help:"sigmoid, hinge, ipo or simpo; the last two by means over tokens"`
	LabelSmoothing float64 `json:"label_smoothing" help:"probability that a pair is the wrong way round: of sigmoid and simpo"`
	CPOAlpha       float64 `json:"cpo_alpha" help:"weight of the likelihood of the chosen answers beside the loss; SimPO has 0"`
	SimPOGamma     float64 `json:"simpo_gamma" help:"the margin of simpo"`
	Alpha          float64 `json:"alpha" help:"bends the reward of a probability p to (1-p^-alpha)/alpha (AlphaPO); 0 for log p"`
}

// NewCPO are TRL's defaults.
func NewCPO() CPO { return CPO{Beta: 0.1, LossType: "sigmoid", CPOAlpha: 1, SimPOGamma: 0.5} }

// cpoLoss is a row of loss_type: the loss of a difference of rewards, before β, and its derivative.
type cpoLoss struct {
	key  string
	mean bool // by the means of log-probabilities
	loss func(o *CPO, d float64) (loss, slope float64)
}

func (l cpoLoss) name() string { return l.key }

var cpoLosses = []cpoLoss{
	{"sigmoid", false, func(o *CPO, d float64) (float64, float64) {
		loss, g := smoothed(o.Beta*d, o.LabelSmoothing)
		return loss, o.Beta * g
	}},
	{"hinge", false, func(o *CPO, d float64) (float64, float64) {
		if x := 1 - o.Beta*d; x > 0 {
			return x, -o.Beta
		}
		return 0, 0
	}},
	{"ipo", true, func(o *CPO, d float64) (float64, float64) {
		x := d - 1/(2*o.Beta)
		return x * x, 2 * x
	}},
	{"simpo", true, func(o *CPO, d float64) (float64, float64) {
		loss, g := smoothed(o.Beta*d-o.SimPOGamma, o.LabelSmoothing)
		return loss, o.Beta * g
	}},
}

// Check says what is wrong with the settings.
func (o *CPO) Check() error {
	_, err := find(cpoLosses, "loss_type", o.LossType)
	if o.CPOAlpha < 0 {
		err = errors.Join(err, fmt.Errorf("cpo_alpha is %g; it must be at least 0", o.CPOAlpha))
	}
	return errors.Join(err, positive("beta", o.Beta), share("label_smoothing", o.LabelSmoothing, 0.5))
}

// Whole says that the loss has the likelihood in it, which is over all tokens of a batch.
func (o *CPO) Whole() bool { return o.CPOAlpha != 0 }

// LogP is what of an answer counts: its sum, or its mean.
func (o *CPO) LogP(a *Answer) float64 {
	if l, err := find(cpoLosses, "loss_type", o.LossType); err == nil && l.mean {
		return a.mean()
	}
	return a.LogP
}

// reward is that of an answer, before β, and its derivative in the answer's LogP.
func (o *CPO) reward(l *cpoLoss, a *Answer) (r, slope float64) {
	x, per := a.LogP, 1.0
	if l.mean {
		x, per = a.mean(), 1/float64(max(1, a.N))
	}
	if o.Alpha == 0 {
		return x, per
	}
	return -math.Expm1(-o.Alpha*x) / o.Alpha, per * math.Exp(-o.Alpha*x)
}

// Pairs adds to out, one a pair, the losses and their derivatives; nll is the likelihood, 0 where it does not count.
func (o *CPO) Pairs(pairs []Pair, out []Grad) (nll float64) {
	l, err := find(cpoLosses, "loss_type", o.LossType)
	if err != nil {
		panic(err)
	}
	slope := 0.0
	if o.CPOAlpha != 0 {
		nll, slope = likelihood(pairs)
	}
	for i := range pairs {
		c, dc := o.reward(&l, &pairs[i].Chosen)
		r, dr := o.reward(&l, &pairs[i].Rejected)
		loss, g := l.loss(o, c-r)
		out[i].Loss += loss + o.CPOAlpha*nll
		out[i].Chosen += g * dc
		out[i].Rejected -= g * dr
		out[i].Text += o.CPOAlpha * slope * float64(len(pairs))
	}
	return nll
}

// Rewards are those of a pair's answers.
func (o *CPO) Rewards(p *Pair) (chosen, rejected float64) {
	l, err := find(cpoLosses, "loss_type", o.LossType)
	if err != nil {
		panic(err)
	}
	c, _ := o.reward(&l, &p.Chosen)
	r, _ := o.reward(&l, &p.Rejected)
	return o.Beta * c, o.Beta * r
}
