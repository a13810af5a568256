package evaluate

import (
	"encoding/json"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/datasets"
)

// Text is the size of the text that was scored, for measures that do not depend on the tokenizer.
type Text struct {
	Words int64 // split on white space, as lm-evaluation-harness counts them
	Bytes int64 // UTF-8
}

// CountText counts the words and bytes of a text.
func CountText(s string) Text {
	return Text{Words: int64(len(strings.Fields(s))), Bytes: int64(len(s) - invalid(s))}
}

func invalid(s string) int {
	n := 0
	for i, r := range s {
		if r == utf8.RuneError {
			if _, w := utf8.DecodeRuneInString(s[i:]); w == 1 {
				n++
			}
		}
	}
	return n
}

// Score is a model's score on a text. Perplexity is exp of the mean negative log-likelihood a token; the word and byte measures
// divide the same sum by the text's words and bytes, as lm-evaluation-harness defines word_perplexity, byte_perplexity and
// bits_per_byte. They are 0 where the text's size is unknown.
type Score struct {
	NLL            float64 `json:"nll"` // mean, nats a token
	Perplexity     float64 `json:"perplexity"`
	Tokens         int     `json:"tokens"`
	WordPerplexity float64 `json:"word_perplexity,omitempty"`
	BytePerplexity float64 `json:"byte_perplexity,omitempty"`
	BitsPerByte    float64 `json:"bits_per_byte,omitempty"`
	// Reason says why a measure is none: NLL and Perplexity are NaN then, in JSON null, or a perplexity is infinite.
	Reason string `json:"reason,omitempty"`
}

// NoScore is the score of a set in which nothing could be measured.
func NoScore(reason string) Score {
	return Score{NLL: math.NaN(), Perplexity: math.NaN(), Reason: reason}
}

// scoreJSON is Score as JSON has it, where what is not a number is null.
type scoreJSON struct {
	NLL            *float64 `json:"nll"`
	Perplexity     *float64 `json:"perplexity"`
	Tokens         int      `json:"tokens"`
	WordPerplexity *float64 `json:"word_perplexity,omitempty"`
	BytePerplexity *float64 `json:"byte_perplexity,omitempty"`
	BitsPerByte    *float64 `json:"bits_per_byte,omitempty"`
	Reason         string   `json:"reason,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (s Score) MarshalJSON() ([]byte, error) {
	number := func(v float64, zero bool) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) || v == 0 && !zero {
			return nil
		}
		return &v
	}
	return json.Marshal(scoreJSON{number(s.NLL, true), number(s.Perplexity, true), s.Tokens, number(s.WordPerplexity, false),
		number(s.BytePerplexity, false),
		number(s.BitsPerByte, false), s.Reason})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Score) UnmarshalJSON(b []byte) error {
	var j scoreJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	number := func(v *float64, none float64) float64 {
		if v == nil {
			return none
		}
		return *v
	}
	*s = Score{NLL: number(j.NLL, math.NaN()), Perplexity: number(j.Perplexity, math.NaN()), Tokens: j.Tokens,
		WordPerplexity: number(j.WordPerplexity, 0),
		BytePerplexity: number(j.BytePerplexity, 0), BitsPerByte: number(j.BitsPerByte, 0), Reason: j.Reason}
	return nil
}

// NewScore computes the measures from a summed negative log-likelihood.
func NewScore(sum float64, tokens int, text Text) Score {
	if tokens == 0 {
		return NoScore("no token of it has a loss")
	}
	s := Score{Tokens: tokens}
	s.NLL = sum / float64(tokens)
	if s.Perplexity = math.Exp(s.NLL); math.IsInf(s.Perplexity, 0) {
		s.Reason = "the perplexity is too large a number"
	}
	if text.Words > 0 {
		s.WordPerplexity = math.Exp(sum / float64(text.Words))
	}
	if text.Bytes > 0 {
		s.BytePerplexity = math.Exp(sum / float64(text.Bytes))
		s.BitsPerByte = sum / float64(text.Bytes) / math.Ln2
	}
	return s
}

// Scorer sums negative log-likelihoods over packed sequences; train.Scorer is one.
type Scorer interface {
	NLL(seqs []datasets.Sequence) (sum float64, tokens int, err error)
}

// Perplexity scores packed sequences. text is the size of the text that they hold; zero where it is unknown.
func Perplexity(s Scorer, seqs []datasets.Sequence, text Text) (Score, error) {
	sum, tokens, err := s.NLL(seqs)
	if err != nil {
		return Score{}, err
	}
	return NewScore(sum, tokens, text), nil
}
