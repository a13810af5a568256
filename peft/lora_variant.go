package peft

import (
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// validateVariants checks the fields that choose a variant of LoRA, of which HF allows one.
func (c *LoraConfig) validateVariants() error {
	plain := c.InitLoraWeights.Name == ""
	switch {
	case c.UseDora && c.AloraInvocationTokens != nil:
		return fmt.Errorf("peft: LORA: use_dora and alora_invocation_tokens are two variants; a configuration has one of them")
	case c.LoraBias && c.UseDora:
		return fmt.Errorf("peft: LORA: lora_bias does not go with use_dora")
	case c.LoraBias && !plain:
		return fmt.Errorf("peft: LORA: lora_bias goes with init_lora_weights true or false, not %q", c.InitLoraWeights.Name)
	case c.AloraInvocationTokens != nil && len(c.AloraInvocationTokens) == 0:
		return fmt.Errorf("peft: LORA: alora_invocation_tokens is empty; give the ids of the tokens that invoke the adapter")
	}
	name := strings.ToLower(c.InitLoraWeights.Name)
	switch {
	case len(c.LoftqConfig) > 0 && name != "loftq":
		return fmt.Errorf("peft: LORA: loftq_config goes with init_lora_weights \"loftq\"")
	case c.EvaConfig != nil && name != "eva":
		return fmt.Errorf("peft: LORA: eva_config goes with init_lora_weights \"eva\"")
	}
	for _, id := range c.AloraInvocationTokens {
		if id < 0 {
			return fmt.Errorf("peft: LORA: alora_invocation_tokens has the id %d", id)
		}
	}
	return c.validateParameters()
}

// attachVariant adds what the configuration's variant trains beside the pair p of the module s, or refuses the module.
func (l *lora) attachVariant(p *pair, s nn.Site) error {
	c := &l.cfg
	if c.LoraBias {
		if s.Kind == nn.KindEmbedding || s.Kind == nn.KindHead {
			return fmt.Errorf("peft: LORA: lora_bias is for linear layers, but the target %s is the %s", s.Name, s.Kind)
		}
		name := prefix + s.Name + ".lora_B.bias"
		p.bias = &Param{Name: name, Key: name, Rows: 1, Cols: p.b.Rows, Shape: []int{p.b.Rows}, Init: zeros}
		if !c.InitLoraWeights.On {
			p.bias.Init = uniform(l.seed, name, p.r)
		}
		l.params = append(l.params, p.bias)
	}
	if c.AloraInvocationTokens != nil && s.Kind != nn.KindLinear {
		return fmt.Errorf("peft: LORA: alora_invocation_tokens is for linear layers, but the target %s is the %s", s.Name, s.Kind)
	}
	if c.UseDora {
		return l.attachDora(p, s)
	}
	return nil
}
