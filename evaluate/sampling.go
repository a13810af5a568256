package evaluate

import (
	"fmt"
	"math"
	"sort"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Sampling says how the next token is chosen, with the names of transformers' GenerationConfig. The zero value is greedy. The settings with
// a name in YAML are those of a recipe's section evaluate.
type Sampling struct {
	MaxNewTokens int     `yaml:"max_new_tokens" json:"max_new_tokens" bounds:"[0,16777216]" help:"tokens of a sample; 0 for no samples"`
	DoSample     bool    `yaml:"do_sample" json:"do_sample" help:"draw tokens rather than take the likeliest"`
	Temperature  float64 `yaml:"temperature" json:"temperature" bounds:"(0,)" unset:"true" help:"sampling temperature"` // 0 means 1
	TopK         int     `yaml:"top_k" json:"top_k" bounds:"[0,)" help:"draw from the k likeliest tokens; 0 from all"`
	// TopP and RepetitionPenalty: 0 or 1 for none.
	TopP              float64 `yaml:"top_p" json:"top_p" bounds:"(0,1]" unset:"true" help:"draw from the likeliest tokens of this probability in all"`
	RepetitionPenalty float64 `yaml:"repetition_penalty" json:"repetition_penalty" bounds:"(0,)" unset:"true" help:"penalty on tokens that have occurred; 1 for none"`

	MinP              float64   `yaml:"-" json:"min_p"`              // 0 for none
	TypicalP          float64   `yaml:"-" json:"typical_p"`          // 0 or 1 for none
	EpsilonCutoff     float64   `yaml:"-" json:"epsilon_cutoff"`     // 0 for none
	EtaCutoff         float64   `yaml:"-" json:"eta_cutoff"`         // 0 for none
	MinTokensToKeep   int       `yaml:"-" json:"min_tokens_to_keep"` // 0 means 1
	NoRepeatNgramSize int       `yaml:"-" json:"no_repeat_ngram_size"`
	BadWordsIDs       [][]int32 `yaml:"-" json:"bad_words_ids"`
	SuppressTokens    []int32   `yaml:"-" json:"suppress_tokens"`
	MinNewTokens      int       `yaml:"-" json:"min_new_tokens"`
	Seed              uint64    `yaml:"-" json:"seed"`

	// OpenAI's: of what has been generated, in [-2, 2]; and what is added to logits.
	FrequencyPenalty float64           `yaml:"-" json:"frequency_penalty,omitempty"`
	PresencePenalty  float64           `yaml:"-" json:"presence_penalty,omitempty"`
	LogitBias        map[int32]float64 `yaml:"-" json:"logit_bias,omitempty"`
}

// Validate says what is wrong with the settings.
func (s *Sampling) Validate() error {
	if err := settings.CheckSet(s); err != nil {
		e := err.(*settings.Error)
		return fmt.Errorf("%s %s", e.Key, e.Want)
	}
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{!(s.MinP >= 0 && s.MinP <= 1), "min_p must be in [0, 1]"},
		{!(s.TypicalP >= 0 && s.TypicalP <= 1), "typical_p must be in (0, 1]"},
		{!(s.EpsilonCutoff >= 0 && s.EpsilonCutoff < 1), "epsilon_cutoff must be in [0, 1)"},
		{!(s.EtaCutoff >= 0 && s.EtaCutoff < 1), "eta_cutoff must be in [0, 1)"},
		{s.MinTokensToKeep < 0, "min_tokens_to_keep must be at least 0"},
		{s.NoRepeatNgramSize < 0, "no_repeat_ngram_size must be at least 0"},
		{s.MinNewTokens < 0, "min_new_tokens must be at least 0"},
		{s.MaxNewTokens < 1, "max_new_tokens must be at least 1"},
		{!(math.Abs(s.FrequencyPenalty) <= 2), "frequency_penalty must be in [-2, 2]"},
		{!(math.Abs(s.PresencePenalty) <= 2), "presence_penalty must be in [-2, 2]"},
	} {
		if c.bad {
			return fmt.Errorf("%s", c.what)
		}
	}
	for _, w := range s.BadWordsIDs {
		if len(w) == 0 {
			return fmt.Errorf("bad_words_ids holds an empty word")
		}
	}
	return nil
}

func (s *Sampling) keep() int { return max(s.MinTokensToKeep, 1) }

// Context is what has been written so far.
type Context struct {
	Seen   []int32 // prompt and continuation
	Prompt int     // tokens of the prompt
	EOS    []int32 // tokens that end the text
}

// processor is a row of the table of logits processors, in transformers' order. It changes the logits in place. A warper works only where
// tokens are drawn.
type processor struct {
	name   string
	warper bool
	apply  func(s *Sampling, logits []float32, c Context)
}

// processors is the table of logits processors. The order is that of transformers' generate, in which vLLM's stand where they do there.
var processors = []processor{
	{"logit_bias", false, logitBias},
	{"repetition_penalty", false, repetitionPenalty},
	{"frequency_penalty", false, frequencyPenalty},
	{"no_repeat_ngram_size", false, noRepeatNgram},
	{"bad_words_ids", false, badWords},
	{"min_new_tokens", false, minNewTokens},
	{"suppress_tokens", false, suppress},
	{"temperature", true, temperature},
	{"top_k", true, topK},
	{"top_p", true, topP},
	{"min_p", true, minP},
	{"typical_p", true, typicalP},
	{"epsilon_cutoff", true, epsilonCutoff},
	{"eta_cutoff", true, etaCutoff},
}

// Process applies the logits processors that the settings ask for, in place.
func (s *Sampling) Process(logits []float32, c Context) {
	for _, p := range processors {
		if s.DoSample || !p.warper {
			p.apply(s, logits, c)
		}
	}
}

var never = float32(math.Inf(-1))

// descending orders the tokens by their logits, the likeliest first; equal ones by id.
func descending(l []float32) []int {
	o := make([]int, len(l))
	for i := range o {
		o[i] = i
	}
	sort.SliceStable(o, func(a, b int) bool { return l[o[a]] > l[o[b]] })
	return o
}

// Softmax is the probabilities of logits.
func Softmax(l []float32) []float64 {
	m := never
	for _, v := range l {
		m = max(m, v)
	}
	p := make([]float64, len(l))
	sum := 0.0
	for i, v := range l {
		p[i] = math.Exp(float64(v - m))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}
