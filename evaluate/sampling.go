package evaluate

import (
	"fmt"
	"math"
	"sort"
)

// Sampling says how the next token is chosen, with the names of transformers' GenerationConfig. The zero value is greedy.
type Sampling struct {
	DoSample          bool      `yaml:"do_sample" json:"do_sample"`
	Temperature       float64   `yaml:"temperature" json:"temperature"`               // 0 means 1
	TopK              int       `yaml:"top_k" json:"top_k"`                           // 0 for none
	TopP              float64   `yaml:"top_p" json:"top_p"`                           // 0 or 1 for none
	MinP              float64   `yaml:"min_p" json:"min_p"`                           // 0 for none
	TypicalP          float64   `yaml:"typical_p" json:"typical_p"`                   // 0 or 1 for none
	EpsilonCutoff     float64   `yaml:"epsilon_cutoff" json:"epsilon_cutoff"`         // 0 for none
	EtaCutoff         float64   `yaml:"eta_cutoff" json:"eta_cutoff"`                 // 0 for none
	MinTokensToKeep   int       `yaml:"min_tokens_to_keep" json:"min_tokens_to_keep"` // 0 means 1
	RepetitionPenalty float64   `yaml:"repetition_penalty" json:"repetition_penalty"` // 0 or 1 for none
	NoRepeatNgramSize int       `yaml:"no_repeat_ngram_size" json:"no_repeat_ngram_size"`
	BadWordsIDs       [][]int32 `yaml:"bad_words_ids" json:"bad_words_ids"`
	SuppressTokens    []int32   `yaml:"suppress_tokens" json:"suppress_tokens"`
	MinNewTokens      int       `yaml:"min_new_tokens" json:"min_new_tokens"`
	MaxNewTokens      int       `yaml:"max_new_tokens" json:"max_new_tokens"`
	Seed              uint64    `yaml:"seed" json:"seed"`
}

// Validate says what is wrong with the settings.
func (s *Sampling) Validate() error {
	for _, c := range []struct {
		bad  bool
		what string
	}{
		{!(s.Temperature >= 0), "temperature must be above 0"},
		{s.TopK < 0, "top_k must be at least 0"},
		{!(s.TopP >= 0 && s.TopP <= 1), "top_p must be in (0, 1]"},
		{!(s.MinP >= 0 && s.MinP <= 1), "min_p must be in [0, 1]"},
		{!(s.TypicalP >= 0 && s.TypicalP <= 1), "typical_p must be in (0, 1]"},
		{!(s.EpsilonCutoff >= 0 && s.EpsilonCutoff < 1), "epsilon_cutoff must be in [0, 1)"},
		{!(s.EtaCutoff >= 0 && s.EtaCutoff < 1), "eta_cutoff must be in [0, 1)"},
		{s.MinTokensToKeep < 0, "min_tokens_to_keep must be at least 0"},
		{!(s.RepetitionPenalty >= 0), "repetition_penalty must be above 0"},
		{s.NoRepeatNgramSize < 0, "no_repeat_ngram_size must be at least 0"},
		{s.MinNewTokens < 0, "min_new_tokens must be at least 0"},
		{s.MaxNewTokens < 1, "max_new_tokens must be at least 1"},
		{s.MaxNewTokens > mostNewTokens, fmt.Sprintf("max_new_tokens must be at most %d", mostNewTokens)},
		{math.IsInf(s.Temperature, 0) || math.IsInf(s.RepetitionPenalty, 0), "temperature and repetition_penalty must be finite"},
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

// mostNewTokens bounds max_new_tokens, more than any model has positions.
const mostNewTokens = 1 << 24

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

// processors is the table of logits processors. The order is that of transformers' generate.
var processors = []processor{
	{"repetition_penalty", false, repetitionPenalty},
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
