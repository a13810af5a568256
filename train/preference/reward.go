package preference

import (
	"fmt"
	"math"
)

// Reward is the setting of reward models (Bradley and Terry 1952; Ouyang et al. 2022, arXiv:2203.02155), under TRL's name.
type Reward struct {
	CenterRewardsCoefficient float64 `json:"center_rewards_coefficient" help:"weight of a term that holds the rewards of a pair around 0, such as 0.01; 0 for none"`
}

// Check says what is wrong with the setting.
func (o *Reward) Check() error {
	if c := o.CenterRewardsCoefficient; !(c >= 0) || math.IsInf(c, 0) {
		return fmt.Errorf("center_rewards_coefficient is %g; it must be at least 0", c)
	}
	return nil
}

// Pair is the loss of a pair of rewards, of which the chosen one should be above the other by a margin, and its derivatives.
func (o *Reward) Pair(chosen, rejected, margin float64) (loss, dc, dr float64) {
	x, sum := chosen-rejected-margin, chosen+rejected
	g, c := -sigmoid(-x), 2*o.CenterRewardsCoefficient*sum
	return -logSigmoid(x) + o.CenterRewardsCoefficient*sum*sum, g + c, -g + c
}
