package measure

import (
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/settings"
)

// Config says what is measured before and after training: a recipe's section evaluate. What the tags say of a setting is
// checked, listed and described from there: see package settings.
type Config struct {
	MaxSequences    int      `yaml:"max_sequences" json:"max_sequences" bounds:"[0,)" help:"packed sequences scored of each evaluation set; 0 for all"`
	ExactMatch      int      `yaml:"exact_match" json:"exact_match" bounds:"[0,)" help:"held-out questions that are answered greedily and compared with the right answers; 0 for none"`
	AnswerDelimiter string   `yaml:"answer_delimiter" json:"answer_delimiter" help:"what stands before the final answer, such as ####; empty compares whole answers"`
	AnswerMatch     string   `yaml:"answer_match" json:"answer_match" help:"how answers are compared: texts normalised as SQuAD's script does, or the numbers after answer_delimiter by GSM8K's rule" enum:"squad,number"`
	ChrF            int      `yaml:"chrf" json:"chrf" bounds:"[0,)" help:"held-out prompts, of each source, that are completed greedily and scored by chrF against the right completions; 0 for none"`
	BatchSize       int      `yaml:"batch_size" json:"batch_size" bounds:"[1,1048576]" help:"packed sequences of one pass"`
	Responses       int      `yaml:"responses" json:"responses,omitempty" bounds:"[0,)" since:"0.2" help:"held-out prompts that are answered, of a training on answers that are compared: the length of the answers, their divergence from the base, and, by reward_model, how often they win; 0 for none"`
	RewardModel     string   `yaml:"reward_model" json:"reward_model,omitempty" since:"0.2" help:"folder of a reward model's adapter for the same base, which compares those answers with the chosen ones; empty for none"`
	MaxGeneralRise  float64  `yaml:"max_general_rise" json:"max_general_rise,omitempty" bounds:"[0,)" since:"0.2" help:"share by which the perplexity of general_input may rise: where it rises more, the run goes back to the latest checkpoint that holds it, and ends with exit code 3 where none does; 0 for no guard"`
	Prompts         []string `yaml:"prompts" json:"prompts" help:"texts to continue before and after; when empty the beginning of a held-out document"`
	// Measures are of those that [Register] added.
	Measures settings.Named `yaml:"measures" json:"measures,omitempty" since:"0.2" help:"measures that a program of another module has registered: names, or {name: NAME} with settings"`
	// Sampling is how samples are drawn; their seed is the input's.
	evaluate.Sampling `yaml:",inline"`
}
