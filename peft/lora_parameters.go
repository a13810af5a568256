package peft

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// target_parameters names parameters of the base, not modules: W becomes W + scale·B·A. Of a linear layer's weight that is what LoRA
// computes, without dropout.

// validateParameters checks what target_parameters does not go with.
func (c *LoraConfig) validateParameters() error {
	if len(c.TargetParameters) == 0 {
		return nil
	}
	for _, w := range []struct {
		on   bool
		what string
	}{{c.LoraDropout != 0, "lora_dropout"}, {c.FanInFanOut, "fan_in_fan_out"}, {c.LoraBias, "lora_bias"}, {c.UseDora, "use_dora"},
		{c.AloraInvocationTokens != nil, "alora_invocation_tokens"},
		{c.InitLoraWeights.Name != "" && c.InitLoraWeights.Name != "gaussian", "init_lora_weights " + c.InitLoraWeights.Name}} {
		if w.on {
			return fmt.Errorf("peft: LORA: target_parameters does not go with %s; name the modules in target_modules instead", w.what)
		}
	}
	return nil
}

// addParameters returns the targets with the modules whose weights target_parameters names, in the order of the sites.
func (l *lora) addParameters(targets, sites []nn.Site) ([]nn.Site, error) {
	want := l.cfg.TargetParameters
	if len(want) == 0 {
		return targets, nil
	}
	chosen := map[string]bool{}
	for _, t := range targets {
		chosen[t.Name] = true
	}
	byWeight := map[string]bool{}
	for _, name := range want {
		found := false
		for _, s := range weighted(sites) {
			lay, _ := layoutOf(s.Op)
			full := s.Name + ".weight"
			if lay.Bias != nil && named([]string{name}, s.Name+".bias") {
				return nil, fmt.Errorf("peft: LORA: target_parameters: %s.bias has one dimension; LoRA adapts matrices", s.Name)
			}
			if !named([]string{name}, full) {
				continue
			}
			found = true
			linear, head := s.Kind == nn.KindLinear, s.Kind == nn.KindHead
			switch {
			case lay.Vector:
				return nil, fmt.Errorf("peft: LORA: target_parameters: %s has one dimension; LoRA adapts matrices", full)
			case !linear && !head || linear && lay.Transposed:
				return nil, fmt.Errorf("peft: LORA: target_parameters: %s is the weight of a module that is not a torch.nn.Linear; name "+
					"%s in target_modules", full, s.Name)
			case head && sharedHead(sites):
				return nil, fmt.Errorf("peft: LORA: target_parameters: %s is the embedding's weight (tie_word_embeddings); name the "+
					"modules in target_modules", full)
			case chosen[s.Name]:
				return nil, fmt.Errorf("peft: LORA: %s is in target_modules and in target_parameters; use one of them", s.Name)
			}
			byWeight[s.Name] = true
		}
		if !found {
			return nil, noTarget("target_parameters", []string{strings.TrimSuffix(name, ".weight")}, sites)
		}
	}
	var out []nn.Site
	for _, s := range weighted(sites) {
		if chosen[s.Name] || byWeight[s.Name] {
			out = append(out, s)
		}
	}
	return out, nil
}
