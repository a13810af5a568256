package evaluate

import (
	"fmt"
	"math"
	"sort"
)

// Sampling says how the next token is chosen, with the names of transformers' GenerationConfig. The zero value is greedy.
type Sampling struct {
	DoSample          bool    `yaml:"do_sample" json:"do_sample"`
	Temperature       float64 `yaml:"temperature" json:"temperature"`               // 0 means 1
	TopK              int     `yaml:"top_k" json:"top_k"`                           // 0 for none
	TopP              float64 `yaml:"top_p" json:"top_p"`                           // 0 or 1 for none
	RepetitionPenalty float64 `yaml:"repetition_penalty" json:"repetition_penalty"` // 0 or 1 for none
	MaxNewTokens      int     `yaml:"max_new_tokens" json:"max_new_tokens"`
	Seed              uint64  `yaml:"seed" json:"seed"`
}

// Validate says what is wrong with the settings.
func (s *Sampling) Validate() error {
	switch {
	case s.Temperature < 0:
		return fmt.Errorf("temperature must be above 0")
	case s.TopK < 0:
		return fmt.Errorf("top_k must be at least 0")
	case s.TopP < 0 || s.TopP > 1:
		return fmt.Errorf("top_p must be in (0, 1]")
	case s.RepetitionPenalty < 0:
		return fmt.Errorf("repetition_penalty must be above 0")
	case s.MaxNewTokens < 1:
		return fmt.Errorf("max_new_tokens must be at least 1")
	}
	return nil
}

// processor is a row of the table of logits processors, in transformers' order. It changes the logits in place; seen are the
// tokens so far.
type processor struct {
	name  string
	apply func(s *Sampling, logits []float32, seen []int32)
}

var processors = []processor{
	{"repetition_penalty", func(s *Sampling, l []float32, seen []int32) {
		if s.RepetitionPenalty == 0 || s.RepetitionPenalty == 1 {
			return
		}
		p := float32(s.RepetitionPenalty)
		done := map[int32]bool{}
		for _, id := range seen {
			if done[id] {
				continue
			}
			done[id] = true
			if l[id] < 0 {
				l[id] *= p
			} else {
				l[id] /= p
			}
		}
	}},
	{"temperature", func(s *Sampling, l []float32, _ []int32) {
		if !s.DoSample || s.Temperature == 0 || s.Temperature == 1 {
			return
		}
		t := float32(s.Temperature)
		for i := range l {
			l[i] /= t
		}
	}},
	{"top_k", func(s *Sampling, l []float32, _ []int32) {
		if !s.DoSample || s.TopK <= 0 || s.TopK >= len(l) {
			return
		}
		o := descending(l)
		limit := l[o[s.TopK-1]]
		for i := range l {
			if l[i] < limit {
				l[i] = float32(math.Inf(-1))
			}
		}
	}},
	{"top_p", func(s *Sampling, l []float32, _ []int32) {
		if !s.DoSample || s.TopP == 0 || s.TopP == 1 {
			return
		}
		// Tokens whose cumulative probability, from the least likely up, is at most 1 - top_p go; one always stays.
		p := Softmax(l)
		o := descending(l)
		sum := 0.0
		for i := len(o) - 1; i > 0; i-- {
			sum += p[o[i]]
			if sum > 1-s.TopP {
				break
			}
			l[o[i]] = float32(math.Inf(-1))
		}
	}},
}

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
	m := float32(math.Inf(-1))
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

// Process applies the logits processors that the settings ask for, in place.
func (s *Sampling) Process(logits []float32, seen []int32) {
	for _, p := range processors {
		p.apply(s, logits, seen)
	}
}
