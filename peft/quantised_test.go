package peft_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/gradcheck"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestMethodsQuantised checks the gradients of every method over a base whose projections are in NF4 with double quantisation. A method
// that trains the projections themselves replaces them by float32 parameters.
func TestMethodsQuantised(t *testing.T) {
	ran := 0
	var refused []string
	for name, c := range methodCases(t) {
		if c.Base != "llama_gqa" {
			continue
		}
		ran++
		t.Run(name, func(t *testing.T) {
			m, err := model.LoadAs(filepath.Join("..", "model", "testdata", "models", c.Base), "float32+nf4_dq")
			if err != nil {
				t.Fatal(err)
			}
			a, err := peft.New(c.Config["peft_type"].(string), c.Config, nn.Sites(m),
				peft.Env{ModelType: m.Config.ModelType, BaseModel: "base", Seed: 3})
			if err != nil && strings.Contains(err.Error(), "quantised") {
				refused = append(refused, name)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			params := nn.NewParams(1)
			defer params.Free()
			s := packed(5, 7)
			p := compileFor(t, m, a, params, nn.ModeTrain, s)
			shake(params)
			peft.HoldNorms(a, params)
			coef := make([]float32, p.Supervised(s))
			for i := range coef {
				coef[i] = float32(i%3) - 1.2
			}
			loss := func() float64 {
				sum := 0.0
				for i, v := range p.Forward(s, true) {
					sum += float64(coef[i]) * float64(v)
				}
				return sum
			}
			loss()
			params.ZeroGrad()
			p.Backward(coef)
			var vars []gradcheck.Var
			for _, q := range params.List() {
				vars = append(vars, gradcheck.Var{Name: q.Name, Data: q.Data, Grad: slices.Clone(q.Grad)})
			}
			gradcheck.Check(t, loss, vars, 1e-2)
		})
	}
	slices.Sort(refused)
	t.Logf("%d methods over NF4; those that change the base's weights refuse it: %v", ran-len(refused), refused)
}
