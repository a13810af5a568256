package export

import (
	"errors"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/quant"
	"github.com/adaptflow/adaptflow/tokenize/folder"
)

// GGUFPerplexity is what quantisation costs: the perplexity of the same texts by a file and by the model that it was made of.
type GGUFPerplexity struct {
	Quant  string  `json:"quant,omitempty"` // of the file, where a recipe asked for it
	Tokens int     `json:"tokens"`
	Model  float64 `json:"model"` // with its weights as they are, in float32
	File   float64 `json:"file"`
}

// Rise is by how many percent the file's perplexity is above the model's.
func (p *GGUFPerplexity) Rise() float64 { return 100 * (p.File/p.Model - 1) }

// ggufTokens is the most tokens of a text that are scored.
const ggufTokens = 512

// Sequences are the tokens that a model is measured on, those with a loss.
type Sequences func(m *infer.Model) ([]datasets.Sequence, error)

// Texts are up to 512 tokens of each of the texts, by the model's tokenizer.
func Texts(texts ...string) Sequences {
	return func(m *infer.Model) (out []datasets.Sequence, err error) {
		for _, text := range texts {
			ids, err := m.Prompt(text)
			if err != nil {
				return nil, err
			}
			if ids = ids[:min(len(ids), ggufTokens, m.Positions())]; len(ids) < 2 {
				continue
			}
			labels := append([]int32{datasets.NoLoss}, ids[1:]...)
			out = append(out, datasets.Sequence{InputIDs: ids, Labels: labels, DocStarts: []int32{0}})
		}
		return out, nil
	}
}

// MeasureGGUF scores sequences by the GGUF file and by the model that it was written of, which is in the folder dir, with the adapter of a
// folder if adapter is not empty. Both are computed in float32 by this program's own products, so that the difference is that of the
// weights: llama.cpp rounds what it multiplies blocks with, too. Neither is in memory as a whole: the model's weights are read again for
// each sequence, and the file's stay mapped.
func MeasureGGUF(dir, adapter, file string, of Sequences) (*GGUFPerplexity, error) {
	var p GGUFPerplexity
	var err error
	if p.Model, p.Tokens, err = perplexity(dir, adapter, "float32@"+quant.Reread, of); err != nil {
		return nil, err
	}
	at, err := folder.Of(file)
	if err != nil {
		return nil, err
	}
	p.File, _, err = perplexity(at, "", "float32+keep", of)
	return &p, err
}

func perplexity(dir, adapter, storage string, of Sequences) (_ float64, _ int, err error) {
	defer quant.CatchRead(&err)
	m, err := infer.Load(dir, storage, adapter)
	if err != nil {
		return 0, 0, err
	}
	defer m.Close()
	seqs, err := of(m)
	if err != nil {
		return 0, 0, err
	}
	longest := 1
	for _, q := range seqs {
		longest = max(longest, len(q.InputIDs))
	}
	s, err := m.Scorer(longest)
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	sum, n := 0.0, 0
	for i := range seqs {
		nll, tokens, err := s.NLL(seqs[i : i+1])
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
