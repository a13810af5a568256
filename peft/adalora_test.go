package peft_test

import (
	"math"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestAdaloraResumes runs ten steps at once, and five, a saved state and five more in another adapter: the same values and ranks.
func TestAdaloraResumes(t *testing.T) {
	c := methodCases(t)["adalora"]
	delete(c.Config, "total_step") // the run's
	s := packed(5, 7)
	coef := make([]float32, len(s.Rows))
	for i := range coef {
		coef[i] = -1 / float32(len(coef))
	}
	run := func(a *peft.Adapter, m nn.Wiring, params *nn.Params, from, to int) {
		p := compileFor(t, m, a, params, nn.ModeTrain, s)
		for i := from; i < to; i++ {
			params.ZeroGrad()
			p.Forward(s, true)
			p.Backward(coef)
			if a.Method.(peft.Regulariser).Regularise(params, 0) <= 0 {
				t.Error("the matrices are orthogonal")
			}
			for _, q := range params.List() {
				for j, g := range q.Grad {
					q.Data[j] -= 0.05 * g
				}
			}
			if err := a.Method.(peft.Stepper).Step(params, 0, i, 10); err != nil {
				t.Fatal(err)
			}
		}
	}
	m, _, a := c.build(t, nil)
	whole := nn.NewParams(1)
	defer whole.Free()
	run(a, m, whole, 0, 10)
	zero, n := 0, 0
	for _, q := range whole.List() {
		if q.Cols == 1 { // E
			for _, v := range q.Data {
				n++
				if v == 0 {
					zero++
				}
			}
		}
	}
	if zero != n/2 { // target_r 2 of init_r 4
		t.Errorf("%d of %d triplets are masked, want half", zero, n)
	}
	m, _, b := c.build(t, nil)
	half := nn.NewParams(1)
	defer half.Free()
	run(b, m, half, 0, 5)
	state, err := b.Method.(peft.Stepper).State()
	if err != nil {
		t.Fatal(err)
	}
	m, _, d := c.build(t, nil)
	if err := d.Method.(peft.Stepper).SetState(state); err != nil {
		t.Fatal(err)
	}
	if total := d.Config().(*peft.AdaloraConfig).TotalStep; total == nil || *total != 10 {
		t.Errorf("total_step %v of the state, want the run's 10", total)
	}
	run(d, m, half, 5, 10)
	for i, q := range whole.List() {
		if !slices.Equal(q.Data, half.List()[i].Data) {
			t.Errorf("%s is not the same after resuming", q.Name)
		}
	}
	if err := d.Method.(peft.Stepper).SetState([]byte("no state")); err == nil {
		t.Error("a damaged state was taken")
	}
}

// TestRegulariserGradient compares the gradient of AdaLoRA's orthogonality term with differences.
func TestRegulariserGradient(t *testing.T) {
	m, _, a := methodCases(t)["adalora"].build(t, nil)
	params := nn.NewParams(1)
	defer params.Free()
	compileFor(t, m, a, params, nn.ModeTrain, packed(3))
	shake(params)
	params.ZeroGrad()
	r := a.Method.(peft.Regulariser)
	r.Regularise(params, 0)
	var grads [][]float32
	for _, q := range params.List() {
		grads = append(grads, slices.Clone(q.Grad))
	}
	for k, q := range params.List() {
		grad := grads[k]
		for i := 0; i < len(grad); i += 1 + len(grad)/5 {
			old := q.Data[i]
			q.Data[i] = old + 0.01
			up := r.Regularise(params, 0)
			q.Data[i] = old - 0.01
			down := r.Regularise(params, 0)
			q.Data[i] = old
			if d := math.Abs((up-down)/0.02 - float64(grad[i])); d > 2e-4+0.02*math.Abs(float64(grad[i])) {
				t.Errorf("%s[%d]: gradient %g, differences %g", q.Name, i, grad[i], (up-down)/0.02)
			}
		}
	}
}
