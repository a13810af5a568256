package export

import (
	"errors"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/tokenize/folder"
)

// GGUFPerplexity is what quantisation costs: the perplexity of the same texts by a file and by the model that it was made of.
type GGUFPerplexity struct {
	Tokens int     `json:"tokens"`
	Model  float64 `json:"model"` // with its weights as they are, in float32
	File   float64 `json:"file"`
}

// ggufTokens is the most tokens of a text that are scored.
const ggufTokens = 512

// MeasureGGUF scores texts, up to 512 tokens of each, by the GGUF file and by the model in the folder dir with the adapter of a folder, if
// adapter is not empty, of which the file was written. Both are computed in float32 by this program's own products, so that the difference
// is that of the weights: llama.cpp rounds what it multiplies blocks with, too.
func MeasureGGUF(dir, adapter, file string, texts []string) (*GGUFPerplexity, error) {
	var p GGUFPerplexity
	var err error
	if p.Model, p.Tokens, err = perplexity(dir, adapter, "float32", texts); err != nil {
		return nil, err
	}
	of, err := folder.Of(file)
	if err != nil {
		return nil, err
	}
	p.File, _, err = perplexity(of, "", "float32+keep", texts)
	return &p, err
}

func perplexity(dir, adapter, storage string, texts []string) (float64, int, error) {
	m, err := infer.Load(dir, storage, adapter)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	s, err := m.Scorer(min(ggufTokens, m.Positions()))
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	sum, n := 0.0, 0
	for _, text := range texts {
		ids, err := m.Prompt(text)
		if err != nil {
			return 0, 0, err
		}
		if ids = ids[:min(len(ids), ggufTokens, m.Positions())]; len(ids) < 2 {
			continue
		}
		q := datasets.Sequence{InputIDs: ids, Labels: append([]int32{datasets.NoLoss}, ids[1:]...), DocStarts: []int32{0}}
		nll, tokens, err := s.NLL([]datasets.Sequence{q})
		if err != nil {
			return 0, 0, err
		}
		sum, n = sum+nll, n+tokens
	}
	if n == 0 {
		return 0, 0, errors.New("no text has two tokens: there is nothing to measure the perplexity of")
	}
	return math.Exp(sum / float64(n)), n, nil
}
