package preference

import (
	"errors"
	"fmt"
)

// KTO are the settings of Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306), under TRL's names.
type KTO struct {
	Beta              float64 `json:"beta" help:"how strongly the policy is held to the reference: the larger, the closer"`
	LossType          string  `json:"loss_type" help:"kto, or apo_zero_unpaired, which has no KL term"`
	DesirableWeight   float64 `json:"desirable_weight" help:"what answers with the label true count"`
	UndesirableWeight float64 `json:"undesirable_weight" help:"what answers with the label false count"`
}

// NewKTO are TRL's defaults.
func NewKTO() KTO { return KTO{Beta: 0.1, LossType: "kto", DesirableWeight: 1, UndesirableWeight: 1} }

// ktoLoss is a row of loss_type: the loss of a log-ratio and its derivative.
type ktoLoss struct {
	key  string
	kl   bool
	loss func(o *KTO, ratio, kl float64, desirable bool) (loss, slope float64)
}

func (l ktoLoss) name() string { return l.key }

var ktoLosses = []ktoLoss{
	{"kto", true, func(o *KTO, ratio, kl float64, desirable bool) (float64, float64) {
		sign := 1.0
		if !desirable {
			sign = -1
		}
		s := sigmoid(sign * o.Beta * (ratio - kl))
		return 1 - s, -sign * o.Beta * s * (1 - s)
	}},
	{"apo_zero_unpaired", false, func(o *KTO, ratio, _ float64, desirable bool) (float64, float64) {
		s := sigmoid(o.Beta * ratio)
		if desirable {
			return 1 - s, -o.Beta * s * (1 - s)
		}
		return s, o.Beta * s * (1 - s)
	}},
}

// Check says what is wrong with the settings.
func (o *KTO) Check() error {
	if o.DesirableWeight < 0 || o.UndesirableWeight < 0 {
		return fmt.Errorf("desirable_weight is %g and undesirable_weight %g; they must be at least 0",
			o.DesirableWeight, o.UndesirableWeight)
	}
	_, err := find(ktoLosses, "loss_type", o.LossType)
	return errors.Join(positive("beta", o.Beta), err)
}

// NeedsKL says that the loss takes the divergence from the reference of answers to other prompts.
func (o *KTO) NeedsKL() bool {
	l, err := find(ktoLosses, "loss_type", o.LossType)
	return err == nil && l.kl
}

// KL estimates the divergence by the answers to other prompts, at least 0.
func (o *KTO) KL(mismatched []Answer) float64 {
	sum := 0.0
	for i := range mismatched {
		sum += mismatched[i].ratio()
	}
	return max(0, sum/float64(max(1, len(mismatched))))
}

// Row is the loss of an answer, and its derivative in the answer's LogP.
func (o *KTO) Row(a *Answer, desirable bool, kl float64) (loss, slope float64) {
	l, err := find(ktoLosses, "loss_type", o.LossType)
	if err != nil {
		panic(err)
	}
	loss, slope = l.loss(o, a.ratio(), kl, desirable)
	w := o.UndesirableWeight
	if desirable {
		w = o.DesirableWeight
	}
	return w * loss, w * slope
}

// Reward is that of an answer.
func (o *KTO) Reward(a *Answer) float64 { return o.Beta * a.ratio() }
