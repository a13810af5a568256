package preference

import (
	"errors"
	"math"
)

// OnlineDPO are the settings of DPO over pairs of the policy's own answers (Guo et al. 2024, arXiv:2402.04792), under TRL's names.
type OnlineDPO struct {
	Beta     float64 `json:"beta" help:"how much a difference from the reference counts"`
	LossType string  `json:"loss_type" help:"sigmoid or ipo"`
}

// NewOnlineDPO are TRL's defaults.
func NewOnlineDPO() OnlineDPO { return OnlineDPO{Beta: 0.1, LossType: "sigmoid"} }

// onlineLoss is a row of loss_type: the loss of a difference of log-ratios, and its derivative.
type onlineLoss struct {
	key  string
	loss func(beta, d float64) (loss, slope float64)
}

func (l onlineLoss) name() string { return l.key }

var onlineLosses = []onlineLoss{
	{"sigmoid", func(beta, d float64) (float64, float64) { return -logSigmoid(beta * d), -beta * sigmoid(-beta*d) }},
	{"ipo", func(beta, d float64) (float64, float64) { x := d - 1/(2*beta); return x * x, 2 * x }},
}

// Check says what is wrong with the settings.
func (o *OnlineDPO) Check() error {
	_, err := find(onlineLosses, "loss_type", o.LossType)
	return errors.Join(err, positive("beta", o.Beta))
}

// Pair is the loss of a pair by the sums of its answers' log p, and its derivative in the chosen one's; that in the rejected one's is the
// opposite.
func (o *OnlineDPO) Pair(p *Pair) (loss, slope float64) {
	l, err := find(onlineLosses, "loss_type", o.LossType)
	if err != nil {
		panic(err)
	}
	return l.loss(o.Beta, p.Chosen.ratio()-p.Rejected.ratio())
}

// Rewards are those of a pair's answers: β times their log-ratios.
func (o *OnlineDPO) Rewards(p *Pair) (chosen, rejected float64) {
	return o.Beta * p.Chosen.ratio(), o.Beta * p.Rejected.ratio()
}

// Better says of two rewards, NaN for none, whether the first answer is the chosen one: of equal ones it is.
func Better(first, second float64) bool { return math.IsNaN(second) || first >= second }
