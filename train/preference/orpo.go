package preference

import "math"

// ORPO is the setting of odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691): the likelihood of prompt and chosen
// answer, and the odds of the chosen against the rejected one. There is no reference.
type ORPO struct {
	Beta float64 `json:"beta" help:"weight of the odds ratio beside the likelihood (λ of the paper)"`
}

// NewORPO are TRL's defaults.
func NewORPO() ORPO { return ORPO{Beta: 0.1} }

// Check says what is wrong with the setting.
func (o *ORPO) Check() error { return positive("beta", o.Beta) }

// Odds are a pair's log odds ratio, its logσ, and the derivatives of the first in the LogP of the two answers.
func (o *ORPO) Odds(p *Pair) (logOdds, ratio, chosen, rejected float64) {
	odds := func(a *Answer) (value, slope float64) {
		x := min(a.mean(), -1e-7) // of an answer that is certain the odds are infinite
		q := -math.Expm1(x)       // 1-p
		return x - math.Log(q), 1 / q / float64(max(1, a.N))
	}
	c, dc := odds(&p.Chosen)
	r, dr := odds(&p.Rejected)
	return c - r, logSigmoid(c - r), dc, -dr
}

// Pairs adds to out, one a pair, the losses and their derivatives; nll is the likelihood.
func (o *ORPO) Pairs(pairs []Pair, out []Grad) (nll float64) {
	nll, slope := likelihood(pairs)
	for i := range pairs {
		x, ratio, dc, dr := o.Odds(&pairs[i])
		g := -o.Beta * sigmoid(-x)
		out[i].Loss += nll - o.Beta*ratio
		out[i].Chosen += g * dc
		out[i].Rejected += g * dr
		out[i].Text += slope * float64(len(pairs))
	}
	return nll
}

// Rewards are those of a pair's answers: β times the means of their log p.
func (o *ORPO) Rewards(p *Pair) (chosen, rejected float64) {
	return o.Beta * p.Chosen.mean(), o.Beta * p.Rejected.mean()
}
