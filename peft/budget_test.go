package peft_test

import (
	"math"
	"testing"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// TestFit: every method whose default settings fit the base is sized to a budget.
func TestFit(t *testing.T) {
	m, err := model.Load(exampleBase)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sites, env := nn.Sites(m), peft.Env{ModelType: m.Config.ModelType, BaseModel: "base", Tied: m.Config.Tied}
	a, err := peft.New("LORA", map[string]any{"target_modules": "all-linear"}, sites, env)
	if err != nil {
		t.Fatal(err)
	}
	budget := a.Trainable()
	needs := map[string]bool{ // a setting, or a base model of another kind
		"BITFIT": true, "ROAD": true, "VBLORA": true, "ADAPTION_PROMPT": true, "TRAINABLE_TOKENS": true}
	for _, row := range peft.Methods {
		if needs[row.Type] {
			continue
		}
		_, _, err := peft.Fit(row.Type, nil, sites, env, budget)
		_, n, wide := peft.Fit(row.Type, map[string]any{"target_modules": "all-linear"}, sites, env, budget)
		if err != nil && wide != nil {
			t.Errorf("%s: %v; of all linear layers: %v", row.Type, err, wide)
		}
		if d := math.Abs(math.Log(float64(n) / float64(budget))); row.Type == "OFT" && d > 1 {
			t.Errorf("%s trains %d values of a budget of %d", row.Type, n, budget)
		}
	}
	c, _, err := peft.Fit("OFT", map[string]any{"r": 4, "oft_block_size": 0}, sites, env, budget)
	if err != nil || c["r"] != 4 || c["oft_block_size"] != 0 {
		t.Errorf("what is given was sized: %v, %v", c, err)
	}
}
