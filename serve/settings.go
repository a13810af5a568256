package serve

import (
	"crypto/rand"
	"encoding/binary"
	"math"
	"slices"
	"strconv"

	"github.com/adaptflow/adaptflow/evaluate"
)

// settings are the fields that /v1/completions and /v1/chat/completions share: OpenAI's, and those of vLLM's that are done here. A field
// that is null is as one that is not there; other fields are passed over.
type settings struct {
	Model         *string        `json:"model"`
	N             *int           `json:"n"`
	Stream        *bool          `json:"stream"`
	StreamOptions *streamOptions `json:"stream_options"`

	Temperature      *float64           `json:"temperature"`
	TopP             *float64           `json:"top_p"`
	Seed             *int64             `json:"seed"`
	PresencePenalty  *float64           `json:"presence_penalty"`
	FrequencyPenalty *float64           `json:"frequency_penalty"`
	LogitBias        map[string]float64 `json:"logit_bias"`
	Stop             texts              `json:"stop"`

	TopK              *int     `json:"top_k"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`
	MinTokens         *int     `json:"min_tokens"`
	IgnoreEOS         *bool    `json:"ignore_eos"`
	StopTokenIDs      []int32  `json:"stop_token_ids"`
	IncludeStop       *bool    `json:"include_stop_str_in_output"`
}

type streamOptions struct {
	IncludeUsage *bool `json:"include_usage"`
}

// The bounds of what one request may ask for.
const (
	mostChoices  = 128
	mostPrompts  = 1024
	mostStops    = 32
	mostLogProbs = 20
	stopBytes    = 1024
)

// is is a value that may be absent.
func is[V any](p *V) (v V) {
	if p != nil {
		v = *p
	}
	return v
}

// number is a field that must lie between bounds.
type number struct {
	name    string
	value   *float64
	lo, hi  float64
	without bool // lo itself is too low
}

func whole(p *int) *float64 {
	if p == nil {
		return nil
	}
	v := float64(*p)
	return &v
}

// check refuses settings out of their bounds.
func (c *settings) check() *Error {
	if c.Model == nil || *c.Model == "" {
		return bad("model", "you must provide a model parameter")
	}
	for _, n := range []number{
		{"n", whole(c.N), 1, mostChoices, false},
		{"temperature", c.Temperature, 0, 2, false},
		{"top_p", c.TopP, 0, 1, false},
		{"presence_penalty", c.PresencePenalty, -2, 2, false},
		{"frequency_penalty", c.FrequencyPenalty, -2, 2, false},
		{"top_k", whole(c.TopK), -1, math.MaxInt32, false},
		{"min_p", c.MinP, 0, 1, false},
		{"repetition_penalty", c.RepetitionPenalty, 0, 10, true},
		{"min_tokens", whole(c.MinTokens), 0, math.MaxInt32, false},
	} {
		if v := n.value; v != nil && (!(*v >= n.lo && *v <= n.hi) || n.without && *v == n.lo) {
			return bad(n.name, "%s is %g; it must be from %g to %g", n.name, *v, n.lo, n.hi)
		}
	}
	if len(c.Stop) > mostStops {
		return bad("stop", "stop has %d texts; %d are the most", len(c.Stop), mostStops)
	}
	for _, s := range c.Stop {
		if s == "" || len(s) > stopBytes {
			return bad("stop", "stop has a text of %d bytes; it must have 1 to %d", len(s), stopBytes)
		}
	}
	if len(c.StopTokenIDs) > mostStops {
		return bad("stop_token_ids", "stop_token_ids has %d ids; %d are the most", len(c.StopTokenIDs), mostStops)
	}
	if c.StreamOptions != nil && !is(c.Stream) {
		return bad("stream_options", "stream_options is only allowed when stream is true")
	}
	return nil
}

// sampling are the settings for a voice: what a request does not say is as the model's generation_config.json has it, and where that says
// nothing as OpenAI's API does, which draws tokens at a temperature of 1. A request without a seed gets one by chance.
func (c *settings) sampling(v *Voice, most int) (s evaluate.Sampling, e *Error) {
	s = evaluate.Sampling{MaxNewTokens: most, TopP: is(c.TopP), MinP: is(c.MinP), TopK: max(is(c.TopK), 0),
		RepetitionPenalty: is(c.RepetitionPenalty), MinNewTokens: is(c.MinTokens), FrequencyPenalty: is(c.FrequencyPenalty),
		PresencePenalty: is(c.PresencePenalty)}
	if c.TopP != nil && *c.TopP == 0 { // the likeliest token; 0 of Sampling would be none
		s.TopP = math.SmallestNonzeroFloat64
	}
	const least = 1e-5 // below it a temperature is 0
	if c.Temperature != nil && *c.Temperature > least {
		s.DoSample, s.Temperature = true, *c.Temperature
	}
	given := map[string]bool{"max_new_tokens": true, "temperature": c.Temperature != nil, "top_p": c.TopP != nil, "top_k": c.TopK != nil,
		"min_p": c.MinP != nil, "repetition_penalty": c.RepetitionPenalty != nil, "min_new_tokens": c.MinTokens != nil}
	if d := v.Defaults; d != nil {
		d.Fill(&s, func(name string) bool { return given[name] })
		if d.DoSample != nil && !*d.DoSample {
			given["temperature"] = true
		}
	}
	if !given["temperature"] && !s.DoSample {
		s.DoSample, s.Temperature = true, 1
	}
	if c.Seed != nil {
		s.Seed = uint64(*c.Seed)
	} else {
		var b [8]byte
		_, _ = rand.Read(b[:])
		s.Seed = binary.LittleEndian.Uint64(b[:])
	}
	for k, b := range c.LogitBias {
		id, err := strconv.ParseInt(k, 10, 32)
		if err != nil || id < 0 || int(id) >= v.Vocab {
			return s, bad("logit_bias", "logit_bias has %q, which is not a token id of the model", k)
		}
		if !(b >= -100 && b <= 100) {
			return s, bad("logit_bias", "logit_bias of %s is %g; it must be from -100 to 100", k, b)
		}
		if s.LogitBias == nil {
			s.LogitBias = map[int32]float64{}
		}
		s.LogitBias[int32(id)] = b
	}
	return s, nil
}

// end are the tokens that end an answer.
func (c *settings) end(v *Voice) (out []int32, e *Error) {
	for _, id := range c.StopTokenIDs {
		if id < 0 || int(id) >= v.Vocab {
			return nil, bad("stop_token_ids", "stop_token_ids has %d, which is not a token id of the model", id)
		}
	}
	if !is(c.IgnoreEOS) {
		out = append(out, v.End...)
	}
	out = append(out, c.StopTokenIDs...)
	slices.Sort(out)
	return slices.Compact(out), nil
}
