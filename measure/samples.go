package measure

import (
	"context"

	"github.com/adaptflow/adaptflow/evaluate"
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
		for _, p := range prompts {
			c, err := in.Model.Generate(p, in.Config.sampling(in.Seed), nil)
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
