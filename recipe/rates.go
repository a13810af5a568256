package recipe

import (
	"fmt"
	"math"
	"strings"
)

// Rates are the learning rates at which methods are trained with Adam, by the size of the base. They are where people begin, not what is
// best: papers and examples agree that adapters want more than full fine-tuning, small models more than large ones, and objectives that
// compare answers far less than those that learn tokens.
var rates = struct {
	// lora is LoRA's rate for bases of fewer than so many parameters; methods and objectives are multiples of it.
	lora []rateBySize
	// method is a method's rate over LoRA's, by peft_type; those that the table lacks have LoRA's.
	method []multiple
	// objective is an objective's rate over that of supervised training.
	objective []multiple
	// optim is an optimiser's rate over Adam's.
	optim []multiple
}{
	lora: []rateBySize{
		{50e6, 2e-3, "measured on the embedded models"},
		{250e6, 5e-4, "LoRA on RoBERTa base, 125M (Hu et al. 2021, appendix D)"},
		{1e9, 3e-4, "LoRA on RoBERTa large, 355M (the same)"},
		{2e10, 2e-4, "TRL's examples of LoRA; QLoRA on 7B and 13B (Dettmers et al. 2023, appendix B)"},
		{math.Inf(1), 1e-4, "QLoRA on 33B and 65B (the same)"},
	},
	method: []multiple{
		{"FULL", 0.1, "TRL's examples: a tenth of LoRA's; Schulman et al. 2025 (LoRA Without Regret)"},
		{"ADALORA", 2, "Zhang et al. 2023: 5e-4 to 2e-3"},
		{"IA3", 10, "Liu et al. 2022: 3e-3"},
		{"VERA", 10, "Kopiczko et al. 2024: 4e-3 on 7B, where LoRA had 4e-4"},
		{"PVERA", 10, "as VERA"},
		{"VBLORA", 10, "Li et al. 2024: 1e-3 to 1e-2 for the bank"},
		{"RANDLORA", 5, "Albert et al. 2025: between LoRA and VeRA"},
		{"TINYLORA", 10, "few numbers, as VERA"},
		{"FOURIERFT", 50, "Gao et al. 2024: 3e-2 and more for the coefficients"},
		{"WAVEFT", 50, "as FOURIERFT"},
		{"C3A", 10, "few numbers, as VERA"},
		{"ROAD", 10, "few numbers, as IA3"},
		{"LN_TUNING", 5, "few numbers, as BITFIT"},
		{"BITFIT", 5, "Ben Zaken et al. 2021: 1e-4 to 1e-2"},
		{"BEFT", 5, "as BITFIT"},
		{"PROMPT_TUNING", 100, "PEFT's examples: 3e-2; Lester et al. 2021: 0.3 with Adafactor"},
		{"MULTITASK_PROMPT_TUNING", 100, "Wang et al. 2023: 0.3 with Adafactor"},
		{"P_TUNING", 15, "PEFT's examples: 3e-3 and more for the encoder"},
		{"PREFIX_TUNING", 30, "PEFT's examples: 1e-2 on T5 large, 770M"},
		{"ADAPTION_PROMPT", 30, "Zhang et al. 2023 (LLaMA-Adapter): 9e-3"},
		{"CPT", 5, "embeddings that may move little"},
		{"TRAINABLE_TOKENS", 5, "rows of an embedding alone"},
	},
	objective: []multiple{
		{"dpo", 0.025, "TRL's dpo.py: 5e-6 with LoRA"},
		{"kto", 0.025, "TRL's kto.py: as dpo.py"},
		{"online_dpo", 0.025, "the loss of dpo"},
		{"orpo", 0.4, "TRL's orpo.py: 8e-5 with LoRA"},
		{"cpo", 0.4, "TRL's cpo.py: 8e-5 with LoRA"},
		{"reward", 0.5, "TRL's reward_modeling.py: 1e-4 with LoRA"},
		{"grpo", 0.05, "TRL's examples of GRPO with LoRA: 1e-5"},
		{"rloo", 0.05, "as grpo"},
	},
	optim: []multiple{
		{"lion_32bit", 0.2, "Chen et al. 2023: 3 to 10 times less than AdamW"},
		{"lion_8bit", 0.2, "the same"},
		{"sgd", 100, "has no division by the gradients' size"},
		{"sgd_8bit", 100, "the same"},
	},
}

type rateBySize struct {
	below, rate float64
	source      string
}

type multiple struct {
	name   string
	times  float64
	source string
}

// timesOf is the row's multiple; 1 where there is none.
func timesOf(rows []multiple, name string) float64 {
	for _, r := range rows {
		if strings.EqualFold(r.name, name) {
			return r.times
		}
	}
	return 1
}

// LearningRate is where to begin for a method (a peft_type), an objective ("" for supervised training), an optimiser and a base of so many
// parameters, and why, as "LORA at 135M parameters". It is rounded to one digit.
func LearningRate(method, objective, optim string, parameters int64) (rate float64, why string) {
	for _, r := range rates.lora {
		if float64(parameters) < r.below {
			rate = r.rate
			break
		}
	}
	times := timesOf(rates.method, method) * timesOf(rates.objective, objective) * timesOf(rates.optim, optim)
	rate = oneDigit(min(rate*times, mostRate))
	why = fmt.Sprintf("%s at %s parameters", strings.ToUpper(method), Count(parameters))
	if objective != "" {
		why = objective + " with " + why
	}
	if timesOf(rates.optim, optim) != 1 {
		why += ", " + optim
	}
	return rate, why
}

// mostRate is the most that any method gets: what Lester et al. gave prompts.
const mostRate = 0.3

// oneDigit rounds to one significant digit.
func oneDigit(x float64) (y float64) {
	_, _ = fmt.Sscan(fmt.Sprintf("%.0e", x), &y) // of what was just written
	return y
}

// Count is a number of parameters for people, as 135M or 1.7B.
func Count(n int64) string {
	for _, u := range []struct {
		of   float64
		name string
	}{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if x := float64(n) / u.of; x >= 1 {
			if x < 10 {
				return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0") + u.name
			}
			return fmt.Sprintf("%.0f%s", x, u.name)
		}
	}
	return fmt.Sprint(n)
}
