package peft

import "github.com/adaptflow/adaptflow/nn"

// PromptTuningConfig is HF's PromptTuningConfig.
type PromptTuningConfig struct {
	Common
	PromptFields
	PromptInit
}

// promptTuning is prompt tuning (Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning", arXiv:2104.08691): the
// embeddings P [num_virtual_tokens, D] stand before those of each text, [P; E(x)], and are all that is trained. They start at random, at
// the embeddings of a text's tokens, or of tokens drawn from the vocabulary.
type promptTuning struct {
	prompts
	cfg PromptTuningConfig
}

func newPromptTuning() Method {
	p := &promptTuning{cfg: PromptTuningConfig{Common: newCommon("PROMPT_TUNING"), PromptInit: PromptInit{PromptTuningInit: initRandom}}}
	p.method = "PROMPT_TUNING"
	return p
}

func (p *promptTuning) Config() any { return &p.cfg }

// Attach implements Method.
func (p *promptTuning) Attach(sites []nn.Site, env Env) error {
	if err := p.shape(&p.cfg.PromptFields, sites, false); err != nil {
		return err
	}
	name := encoderName("embedding.weight")
	init, err := p.start(&p.cfg.PromptInit, p.cfg.InferenceMode, name, env, initRandom, initText, initSample)
	if err != nil {
		return err
	}
	p.params = []*Param{newParam(name, "prompt_embeddings", init, p.nv, p.embed.D)}
	return nil
}

// Adapt implements nn.Adapter.
func (p *promptTuning) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	if !p.at(s) {
		return s.Out
	}
	return p.insert(b, s, p.params[0].param(b))
}
