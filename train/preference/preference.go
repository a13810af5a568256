// Package preference has the losses of learning from preferences, as TRL 1.16 has them: numbers of answers in, losses and their derivatives
// out. A file is a family of losses. What computes the log-probabilities, and what becomes of the derivatives, is package train's.
//
// A loss is a mean over the pairs, or over the rows, of a batch; what is returned for each of them adds up to that mean times their number,
// so that batches of different sizes can be added.
package preference

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
)

// Answer is one answer to a prompt.
type Answer struct {
	LogP float64 // the sum of its tokens' log p by the policy; of DPO with ld_alpha weighted
	Ref  float64 // the same by the reference
	N    int     // how many tokens these are sums over
	// Text is the sum over the tokens that the likelihood of language modelling is over, and TextN their number: of ORPO the prompt's
	// among them.
	Text  float64
	TextN int
}

// ratio is log(policy/reference).
func (a *Answer) ratio() float64 { return a.LogP - a.Ref }

// mean is the mean of the answer's log p.
func (a *Answer) mean() float64 { return a.LogP / float64(max(1, a.N)) }

// Pair is two answers to one prompt.
type Pair struct {
	Chosen, Rejected Answer
	// Weight is what the loss of the pair is multiplied by, without a gradient: WPO's. See [DPO.Pairs].
	Weight float64
}

// Grad is the loss of a pair and its derivatives, of the sum over the batch, in the LogP of its answers and in each token's log p of the
// Text of the chosen one.
type Grad struct {
	Loss, Chosen, Rejected, Text float64
}

// sigmoid is 1/(1+e^-x).
func sigmoid(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// logSigmoid is log(1/(1+e^-x)), whose derivative is sigmoid(-x).
func logSigmoid(x float64) float64 { return min(x, 0) - math.Log1p(math.Exp(-math.Abs(x))) }

// smoothed is -(1-ε)·logσ(x) - ε·logσ(-x) and its derivative.
func smoothed(x, eps float64) (loss, slope float64) {
	return -(1-eps)*logSigmoid(x) - eps*logSigmoid(-x), -(1-eps)*sigmoid(-x) + eps*sigmoid(x)
}

// likelihood is the mean of the negative log p over the Text of all chosen answers, and its derivative in each token's.
func likelihood(pairs []Pair) (nll, slope float64) {
	n := 0
	for i := range pairs {
		nll -= pairs[i].Chosen.Text
		n += pairs[i].Chosen.TextN
	}
	n = max(1, n)
	return nll / float64(n), -1 / float64(n)
}

// Names are one name or several: in JSON a string, or a list.
type Names []string

// UnmarshalJSON implements json.Unmarshaler.
func (n *Names) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*n = Names{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(n))
}

// named is a row of a table of losses.
type named interface{ name() string }

// find is the row of a name.
func find[R named](table []R, key, name string) (R, error) {
	names := make([]string, len(table))
	for i, r := range table {
		if names[i] = r.name(); names[i] == name {
			return r, nil
		}
	}
	var none R
	return none, fmt.Errorf("%s is %q; it must be one of %s", key, name, strings.Join(names, ", "))
}

// positive says that a setting is not a number above 0.
func positive(key string, x float64) error {
	if x > 0 && !math.IsInf(x, 0) {
		return nil
	}
	return fmt.Errorf("%s is %g; it must be above 0", key, x)
}

// share says that a setting is not a number of [0, below).
func share(key string, x, below float64) error {
	if x >= 0 && x < below {
		return nil
	}
	return fmt.Errorf("%s is %g; it must be at least 0 and below %g", key, x, below)
}
