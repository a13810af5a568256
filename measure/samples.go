package measure

import (
	"context"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

// samples has the model continue prompts: those of the settings, else what other measures had it say, else the beginning of a
// held-out document.
var samples = Measure{
	Name: "samples",
	Doc:  "what a language model says, for people to read",
	When: func(in *Input) bool { return !in.classifies() },
	Run: func(ctx context.Context, in *Input, out *Results) error {
		prompts := in.Config.Prompts
		if len(prompts) == 0 {
			if out.Samples = append(out.Samples, in.shown...); len(in.shown) == 0 {
				opening, err := in.opening(ctx)
				if err != nil {
					return err
				}
				if opening != "" {
					prompts = []string{opening}
				}
			}
		}
		if in.Config.MaxNewTokens == 0 {
			return nil
		}
		s, _, err := in.Model.Sampling(in.Config.sampling(in.Seed), in.Config.given)
		if err != nil {
			return err
		}
		for _, p := range prompts {
			ids, err := in.prompt(p)
			if err != nil {
				return err
			}
			c, err := in.Model.Continue(ids, s, nil, nil)
			if err != nil {
				return err
			}
			out.Samples = append(out.Samples, Sample{p, c.Text})
		}
		return nil
	},
	Lines: func(*Results) []Line { return nil },
}

// sampling is how samples are drawn.
func (c *Config) sampling(seed uint64) evaluate.Sampling {
	s := c.Sampling
	s.Seed = seed
	return s
}

// prompt are the tokens of a prompt of the settings: what a user says, where the model learns from conversations.
func (in *Input) prompt(text string) ([]int32, error) {
	if in.Chat && len(in.Config.Prompts) > 0 {
		return in.Model.ChatPrompt("", infer.Turn{Role: "user", Content: text})
	}
	return in.Model.Prompt(text)
}

// DefaultSampling is how samples are drawn where neither a recipe nor the model's generation_config.json says it.
func DefaultSampling() evaluate.Sampling {
	return evaluate.Sampling{MaxNewTokens: 48, Temperature: 1, TopP: 1, RepetitionPenalty: 1.15}
}

// given says whether a setting is not to be that of the model's generation_config.json: one with another value than the default, and how
// much is said.
func (c *Config) given(name string) bool {
	s, def := &c.Sampling, DefaultSampling()
	switch name {
	case "max_new_tokens":
		return true
	case "temperature":
		return s.DoSample || s.Temperature != def.Temperature
	case "top_k":
		return s.TopK != def.TopK
	case "top_p":
		return s.TopP != def.TopP
	case "repetition_penalty":
		return s.RepetitionPenalty != def.RepetitionPenalty
	}
	return false
}

// Sample is a continuation of a prompt.
type Sample struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`
}

// SamplePair is a prompt and its continuations.
type SamplePair struct {
	Prompt string `json:"prompt"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Pairs pairs the samples of before and after training.
func Pairs(before, after *Results) (out []SamplePair) {
	for i := range before.Samples {
		out = append(out, SamplePair{before.Samples[i].Prompt, before.Samples[i].Text, after.Samples[i].Text})
	}
	return out
}
