package peft

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// adaSlot is the state of one adapter slot: for each target's E, A and B the smoothed sensitivity and its uncertainty, and which triplets
// are left.
type adaSlot struct {
	Sensitivity, Uncertainty [][]float32
	Keep                     [][]bool // by target; nil until triplets are masked
}

// slot returns the state of a slot, made when absent.
func (a *adalora) slot(i int) *adaSlot {
	for len(a.slots) <= i {
		a.slots = append(a.slots, &adaSlot{})
	}
	return a.slots[i]
}

// live are the targets that have triplets.
func (a *adalora) live() []*target {
	return slices.DeleteFunc(slices.Clone(a.list), func(t *target) bool { return a.ranks[t.name] == 0 })
}

// schedule refuses a run that is too short.
func (a *adalora) schedule(total int) error {
	if c := &a.cfg; c.TInit >= total-c.TFinal {
		return fmt.Errorf("peft: ADALORA: tinit = %d and tfinal = %d leave no step of total_step = %d to reduce the ranks in; lower them "+
			"or train longer", c.TInit, c.TFinal, total)
	}
	return nil
}

// Step implements Stepper, as update_and_allocate of the reference: it needs the gradients of the step, clipped.
func (a *adalora) Step(params *nn.Params, slot, index, total int) error {
	c := &a.cfg
	if c.TotalStep == nil {
		if err := a.schedule(total); err != nil {
			return err
		}
		c.TotalStep = &total
	}
	s, end := a.slot(slot), *c.TotalStep-c.TFinal
	switch {
	case index < end:
		a.observe(params, slot, s)
		if index > c.TInit && index%c.DeltaT == 0 {
			a.allocate(params, slot, s, index)
		}
	case index == end:
		a.allocate(params, slot, s, index)
		s.Sensitivity, s.Uncertainty = nil, nil
	default:
		for i, t := range a.live() {
			if s.Keep != nil {
				maskTriplets(params.Get(t.params[0].Name).Slot(slot), s.Keep[i])
			}
		}
	}
	return nil
}

// observe smooths |value·gradient|, and how far it is from its mean.
func (a *adalora) observe(params *nn.Params, slot int, s *adaSlot) {
	b1, b2 := float32(a.cfg.Beta1), float32(a.cfg.Beta2)
	at := 0
	for _, t := range a.live() {
		for _, p := range t.params {
			q := params.Get(p.Name)
			if at == len(s.Sensitivity) {
				s.Sensitivity, s.Uncertainty = append(s.Sensitivity, make([]float32, p.Size())),
					append(s.Uncertainty, make([]float32, p.Size()))
			}
			avg, unc, g := s.Sensitivity[at], s.Uncertainty[at], q.GradSlot(slot)
			at++
			for i, v := range q.Slot(slot) {
				x := float32(math.Abs(float64(v * g[i])))
				avg[i] = float32(b1*avg[i]) + float32((1-b1)*x)
				unc[i] = float32(b2*unc[i]) + float32((1-b2)*float32(math.Abs(float64(x-avg[i]))))
			}
		}
	}
}

// allocate masks the triplets of least importance down to the budget of the step, which falls with the third power.
func (a *adalora) allocate(params *nn.Params, slot int, s *adaSlot, index int) {
	c, live := &a.cfg, a.live()
	first := 0
	for _, t := range live {
		first += a.ranks[t.name]
	}
	last := c.TargetR * len(live)
	left := 1 - float64(index-c.TInit)/float64(*c.TotalStep-c.TFinal-c.TInit)
	budget := int(float64(first-last)*left*left*left + float64(last))
	if budget >= first || len(s.Sensitivity) == 0 {
		return
	}
	var all []float32
	scores := make([][]float32, len(live))
	for i, t := range live {
		r := a.ranks[t.name]
		score := make([]float32, r)
		element := func(p, j int) float64 { return float64(s.Sensitivity[3*i+p][j]) * float64(s.Uncertainty[3*i+p][j]) }
		for k := range r {
			sa, sb := 0.0, 0.0
			for j := range t.in {
				sa += element(1, k*t.in+j)
			}
			for o := range t.out {
				sb += element(2, o*r+k)
			}
			score[k] = float32(element(0, k) + sa/float64(t.in) + sb/float64(t.out))
		}
		scores[i] = score
		all = append(all, score...)
	}
	slices.Sort(all)
	threshold := all[first-budget-1]
	s.Keep = make([][]bool, len(live))
	for i, t := range live {
		for _, x := range scores[i] {
			s.Keep[i] = append(s.Keep[i], x > threshold)
		}
		maskTriplets(params.Get(t.params[0].Name).Slot(slot), s.Keep[i])
	}
}

func maskTriplets(e []float32, keep []bool) {
	for k := range e {
		if !keep[k] {
			e[k] = 0
		}
	}
}
