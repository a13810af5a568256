package evaluate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// GenerationFile is the file of a model's folder that says how its text is generated.
const GenerationFile = "generation_config.json"

// GenerationConfig are the settings of a generation_config.json, with transformers' names and defaults. The tokens that end a text are the
// model's (model.Config.EOS). max_length, which counts the prompt, is not taken: see max_new_tokens.
type GenerationConfig struct {
	DoSample          *bool     `json:"do_sample"`
	Temperature       *float64  `json:"temperature"`
	TopK              *int      `json:"top_k"`
	TopP              *float64  `json:"top_p"`
	MinP              *float64  `json:"min_p"`
	TypicalP          *float64  `json:"typical_p"`
	EpsilonCutoff     *float64  `json:"epsilon_cutoff"`
	EtaCutoff         *float64  `json:"eta_cutoff"`
	RepetitionPenalty *float64  `json:"repetition_penalty"`
	NoRepeatNgramSize *int      `json:"no_repeat_ngram_size"`
	BadWordsIDs       [][]int32 `json:"bad_words_ids"`
	SuppressTokens    []int32   `json:"suppress_tokens"`
	MinNewTokens      *int      `json:"min_new_tokens"`
	MaxNewTokens      *int      `json:"max_new_tokens"`

	unused []string
}

// notGenerated are transformers' settings that change the text and that Sampling does not have, with the values that switch them off beside
// null.
var notGenerated = map[string][]any{"num_beams": {1.0}, "penalty_alpha": {}, "guidance_scale": {1.0}, "sequence_bias": {},
	"stop_strings": {}, "min_length": {0.0},
	"begin_suppress_tokens": {}, "forced_bos_token_id": {}, "forced_eos_token_id": {}, "exponential_decay_length_penalty": {},
	"watermarking_config": {},
	"dola_layers":         {}, "encoder_repetition_penalty": {1.0}, "top_h": {}, "prompt_lookup_num_tokens": {}}

// ReadGenerationConfig reads the generation_config.json of a model's folder; the zero configuration where it has none. Fields that
// transformers does not know either are ignored, as there.
func ReadGenerationConfig(dir string) (*GenerationConfig, error) {
	path := storage.Join(dir, GenerationFile)
	g := &GenerationConfig{}
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if errors.Is(err, fs.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(raw, g); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for name, offs := range notGenerated {
		if v := all[name]; v != nil && !slices.ContainsFunc(offs, func(o any) bool { return reflect.DeepEqual(o, v) }) {
			g.unused = append(g.unused, name)
		}
	}
	slices.Sort(g.unused)
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

// check refuses what transformers refuses. Sampling takes a setting of 0 for one that is not given: so it is here that a 0 in the file is
// refused, where it would be used.
func (g *GenerationConfig) check() error {
	draws := g.DoSample != nil && *g.DoSample
	for _, f := range []struct {
		name  string
		value *float64
		used  bool
		want  string
	}{
		{"temperature", g.Temperature, draws, "above 0, or do_sample false for the likeliest token"},
		{"typical_p", g.TypicalP, draws, "in (0, 1]"},
		{"repetition_penalty", g.RepetitionPenalty, true, "above 0, 1 for none"},
	} {
		if f.used && f.value != nil && *f.value == 0 {
			return fmt.Errorf("%s is 0; it must be %s", f.name, f.want)
		}
	}
	s := Sampling{MaxNewTokens: 1}
	g.Fill(&s, func(string) bool { return false })
	return s.Validate()
}

// Unused names the settings of the file that change the text in transformers and not here.
func (g *GenerationConfig) Unused() []string { return g.unused }

// Fill sets the fields of s that are not given to what the file says. Where the file asks for draws (do_sample), an absent top_k is
// transformers' 50. A temperature that is given decides whether tokens are drawn.
func (g *GenerationConfig) Fill(s *Sampling, given func(name string) bool) {
	if g.DoSample != nil && *g.DoSample && !given("temperature") {
		s.DoSample, s.Temperature = true, 1
		if !given("top_k") {
			s.TopK = 50
		}
	}
	set(&s.Temperature, g.Temperature, given("temperature") || !s.DoSample)
	set(&s.TopK, g.TopK, given("top_k"))
	set(&s.TopP, g.TopP, given("top_p"))
	if g.TopP != nil && *g.TopP == 0 && !given("top_p") { // the likeliest token, as there; 0 of Sampling would be none
		s.TopP = math.SmallestNonzeroFloat64
	}
	set(&s.MinP, g.MinP, given("min_p"))
	set(&s.TypicalP, g.TypicalP, given("typical_p"))
	set(&s.EpsilonCutoff, g.EpsilonCutoff, given("epsilon_cutoff"))
	set(&s.EtaCutoff, g.EtaCutoff, given("eta_cutoff"))
	set(&s.RepetitionPenalty, g.RepetitionPenalty, given("repetition_penalty"))
	set(&s.NoRepeatNgramSize, g.NoRepeatNgramSize, given("no_repeat_ngram_size"))
	set(&s.MinNewTokens, g.MinNewTokens, given("min_new_tokens"))
	set(&s.MaxNewTokens, g.MaxNewTokens, given("max_new_tokens"))
	if len(g.BadWordsIDs) > 0 && !given("bad_words_ids") {
		s.BadWordsIDs = g.BadWordsIDs
	}
	if len(g.SuppressTokens) > 0 && !given("suppress_tokens") {
		s.SuppressTokens = g.SuppressTokens
	}
}

func set[V any](to *V, from *V, given bool) {
	if from != nil && !given {
		*to = *from
	}
}
