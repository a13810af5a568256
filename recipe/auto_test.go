package recipe

import (
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// TestLearningRates: rates by method, objective, optimiser and size, and why.
func TestLearningRates(t *testing.T) {
	for _, c := range []struct {
		method, objective, optim string
		parameters               int64
		want                     float64
		why                      string
	}{
		{"LORA", "", "adamw_torch", 5_500_000, 2e-3, "LORA at 5.5M parameters"},
		{"LORA", "", "adamw_torch", 134_515_008, 5e-4, "LORA at 135M parameters"},
		{"lora", "", "adamw_torch", 361_821_120, 3e-4, "LORA at 362M parameters"},
		{"LORA", "", "adamw_torch", 1_711_376_384, 2e-4, "LORA at 1.7B parameters"},
		{"LORA", "", "adamw_torch", 70_000_000_000, 1e-4, "LORA at 70B parameters"},
		{"DORA_OF_MY_OWN", "", "adamw_torch", 7_000_000_000, 2e-4, "DORA_OF_MY_OWN at 7B parameters"},
		{"FULL", "", "adamw_torch", 7_000_000_000, 2e-5, "FULL at 7B parameters"},
		{"IA3", "", "adamw_torch", 7_000_000_000, 2e-3, "IA3 at 7B parameters"},
		{"PROMPT_TUNING", "", "adamw_torch", 770_000_000, 3e-2, "PROMPT_TUNING at 770M parameters"},
		{"PROMPT_TUNING", "", "sgd", 770_000_000, 0.3, "PROMPT_TUNING at 770M parameters, sgd"},
		{"LORA", "dpo", "adamw_torch", 7_000_000_000, 5e-6, "dpo with LORA at 7B parameters"},
		{"LORA", "grpo", "adamw_torch", 1_711_376_384, 1e-5, "grpo with LORA at 1.7B parameters"},
		{"LORA", "reward", "adamw_torch", 1_711_376_384, 1e-4, "reward with LORA at 1.7B parameters"},
		{"LORA", "", "lion_32bit", 7_000_000_000, 4e-5, "LORA at 7B parameters, lion_32bit"},
	} {
		if got, why := LearningRate(c.method, c.objective, c.optim, c.parameters); got != c.want || why != c.why {
			t.Errorf("%+v: %g, %q", c, got, why)
		}
	}
}

// TestRateTable: the table's rows are of methods, objectives and optimisers that there are, each once and with a source, and LoRA's rate
// falls with the size.
func TestRateTable(t *testing.T) {
	var methods []string
	for _, m := range peft.Methods {
		methods = append(methods, m.Type)
	}
	for _, c := range []struct {
		rows  []multiple
		known []string
	}{{rates.method, methods}, {rates.objective, train.NamedObjectives()}, {rates.optim, train.Optimizers()}} {
		seen := map[string]bool{}
		for _, r := range c.rows {
			if !slices.Contains(c.known, r.name) || seen[r.name] || r.source == "" || r.times <= 0 || r.times == 1 {
				t.Errorf("row %+v", r)
			}
			seen[r.name] = true
		}
	}
	for i, r := range rates.lora[1:] {
		if below := rates.lora[i]; r.below <= below.below || r.rate >= below.rate || r.source == "" {
			t.Errorf("row %+v after %+v", r, below)
		}
	}
}

// TestAuto: the word auto is read in a document and in a setting, where a value of another type is still refused; it is part of the hash,
// and what is chosen stands in the resolved recipe.
func TestAuto(t *testing.T) {
	r, err := Resolve(layer(t, "model:\n  path: m\ndata:\n  input: [a]\ntrain:\n  learning_rate: auto\nprepare:\n  "+
		"apply_chat_template: auto\ncompare:\n  methods: [LORA, IA3]\n  learning_rates: auto\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{KeyLearningRate, KeyChatTemplate, KeyLearningRates}; !slices.Equal(r.Auto, want) {
		t.Fatalf("left to the model: %v", r.Auto)
	}
	undecided := r.Hash()
	lines := ""
	for _, c := range r.Choose(Base{Parameters: 135e6, ChatTemplate: true}) {
		lines += c.String() + "\n"
	}
	if want := "learning_rate 5e-4: LORA at 135M parameters\napply_chat_template true: the model has a chat template\n" +
		"learning_rates 2.5e-4, 1.25e-3, 5e-3: around that of LORA at 135M parameters\n"; lines != want {
		t.Errorf("chosen:\n%s", lines)
	}
	if r.Train.LearningRate != 5e-4 || !r.Prepare.ApplyChatTemplate || len(r.Compare.LearningRates) != 3 || r.Auto != nil ||
		r.Hash() == undecided {
		t.Errorf("%+v", r)
	}
	again, err := Resolve(layer(t, string(r.YAML())))
	if err != nil || again.Hash() != r.Hash() {
		t.Errorf("what is written reads otherwise: %v", err)
	}
	if l, err := Set("learning_rate", "auto"); err != nil || l["train"]["learning_rate"] != Auto {
		t.Errorf("%v %v", l, err)
	}
	for _, bad := range []string{"train:\n  learning_rate: automatic\n", "train:\n  weight_decay: auto\n", "train:\n  max_steps: auto\n"} {
		if _, err := Parse("r.yaml", []byte(bad)); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Set("weight_decay", "auto"); err == nil {
		t.Error("a setting that the model does not decide")
	}
}

// TestAdopt: a run goes on with what it was begun with.
func TestAdopt(t *testing.T) {
	text := "model:\n  path: m\n  dtype: auto\ndata:\n  input: [a]\ntrain:\n  learning_rate: auto\n"
	r, err := Resolve(layer(t, text))
	if err != nil {
		t.Fatal(err)
	}
	was, err := Resolve(layer(t, strings.Replace(strings.Replace(text, "dtype: auto", "dtype: float32", 1), "learning_rate: auto",
		"learning_rate: 0.002", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Adopt(was); r.Hash() != was.Hash() || len(r.Choose(Base{Parameters: 1})) > 0 {
		t.Error("another recipe than that with which the run was begun")
	}
}

// TestSmallModels: a model as small as a template's own keeps the template's values, a larger one does not.
func TestSmallModels(t *testing.T) {
	for parameters, want := range map[int64]float64{260_000: 0.001, 135_000_000: 5e-4} {
		l := layer(t, "model:\n  path: m\ndata:\n  input: [a]\ntrain:\n  learning_rate: 0.001\n")
		LeaveToModel(l, func(string) bool { return false }, false)
		r, err := Resolve(l)
		if err != nil {
			t.Fatal(err)
		}
		c := r.Choose(Base{Parameters: parameters})
		if r.Train.LearningRate != want || len(c) != 1 || c[0].Value != want || r.Model.DType != Auto {
			t.Errorf("%d: %g, %v", parameters, r.Train.LearningRate, c)
		}
	}
}
