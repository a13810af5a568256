package preference

import "math"

// divergence is an f-divergence between policy and reference (Wang et al. 2023, arXiv:2309.16240): what a log-ratio counts as.
type divergence struct {
	key string
	// score of a log-ratio, and its derivative.
	score func(o *DPO, r float64) (s, slope float64)
}

func (d divergence) name() string { return d.key }

// divergences is the table of f_divergence_type.
var divergences = []divergence{
	{"reverse_kl", func(_ *DPO, r float64) (float64, float64) { return r, 1 }},
	{"forward_kl", func(_ *DPO, r float64) (float64, float64) { return 1 - math.Exp(-r), math.Exp(-r) }},
	{"js_divergence", func(_ *DPO, r float64) (float64, float64) { return math.Ln2 + logSigmoid(r), sigmoid(-r) }},
	{"alpha_divergence", func(o *DPO, r float64) (float64, float64) {
		a := o.FAlphaDivergenceCoef - 1
		if math.Abs(a) < 1e-6 { // its limit, as TRL has it
			return r, 1
		}
		const most = 80 // where TRL cuts the exponent
		if a*r > most {
			return math.Expm1(most) / a, 0
		}
		return math.Expm1(a*r) / a, math.Exp(a * r)
	}},
}
