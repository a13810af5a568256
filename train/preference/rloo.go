package preference

import (
	"errors"
	"math"
)

// RLOO are the settings of REINFORCE with the others of a group as baseline (Ahmadian et al. 2024, arXiv:2402.14740), under TRL's names.
type RLOO struct {
	Beta                float64   `json:"beta" help:"what of the reward an answer's distance from the reference takes; 0 for no reference"`
	Epsilon             float64   `json:"epsilon" help:"how far an answer's ratio may fall below 1, and rise above it where epsilon_high is 0"`
	EpsilonHigh         float64   `json:"epsilon_high" help:"how far an answer's ratio may rise above 1; 0 for epsilon"`
	NormalizeAdvantages bool      `json:"normalize_advantages" help:"bring the advantages of what was sampled together to mean 0 and deviation 1"`
	RewardClipRange     []float64 `json:"reward_clip_range" help:"the least and the largest reward; none where empty"`
}

// NewRLOO are TRL's defaults.
func NewRLOO() RLOO { return RLOO{Beta: 0.05, Epsilon: 0.2} }

// Check says what is wrong with the settings.
func (o *RLOO) Check() (err error) {
	if n := len(o.RewardClipRange); n != 0 && (n != 2 || !(o.RewardClipRange[0] <= o.RewardClipRange[1])) {
		err = errors.New("reward_clip_range must have the least and the largest reward")
	}
	return errors.Join(err, atLeast("beta", o.Beta, 0), between("epsilon", o.Epsilon, 0, 1), atLeast("epsilon_high", o.EpsilonHigh, 0))
}

func (o *RLOO) high() float64 {
	if o.EpsilonHigh == 0 {
		return o.Epsilon
	}
	return o.EpsilonHigh
}

// Loss adds to slopes, one a token, the derivatives of the loss of the answers, and returns it: the mean times their number.
func (o *RLOO) Loss(rows []Rollout, slopes [][]float64) (sum float64) {
	for i := range rows {
		_, x := rows[i].ratios()
		w := math.Exp(x)
		loss, g := clipped(w, w, 1, 1-o.Epsilon, 1+o.high(), rows[i].Advantage)
		sum += loss
		for k := range slopes[i] {
			slopes[i][k] += g * w
		}
	}
	return sum
}

// Measure tells of a batch what TRL tells of it.
func (o *RLOO) Measure(rows []Rollout) (m RolloutMetrics) {
	m.LowMin, m.HighMax = math.Inf(1), math.Inf(-1)
	for i := range rows {
		_, x := rows[i].ratios()
		w := math.Exp(x)
		low, high := flag(w < 1-o.Epsilon && rows[i].Advantage < 0), flag(w > 1+o.high() && rows[i].Advantage > 0)
		m.Low.add(low, 1)
		m.High.add(high, 1)
		m.Region.add(low+high, 1)
		m.LowMin, m.HighMax = min(m.LowMin, low), max(m.HighMax, high)
	}
	return m
}
