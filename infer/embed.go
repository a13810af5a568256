package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/train"
)

// Pooling is how the hidden states of a text's tokens become one vector.
type Pooling string

// The poolings, with the names of Sentence Transformers' pooling_mode: the mean over the tokens, and the last token's.
const (
	PoolMean Pooling = "mean"
	PoolLast Pooling = "lasttoken"
)

// Embed gives a vector [D] for each text, D the model's hidden size: the hidden states that the head would read, after the last
// norm, pooled over the text's tokens. They are not scaled to a length of 1. Virtual tokens of an adapter are not tokens of the
// text.
func (m *Model) Embed(how Pooling, texts ...string) ([][]float32, error) {
	if how != PoolMean && how != PoolLast {
		return nil, fmt.Errorf("pooling is %q; it is %s or %s", how, PoolMean, PoolLast)
	}
	list := make([]Scored, len(texts))
	for i, text := range texts {
		ids, err := m.Prompt(text)
		if err != nil {
			return nil, err
		}
		list[i].IDs = ids
	}
	return m.embed(how, list)
}

func (m *Model) embed(how Pooling, texts []Scored) (out [][]float32, err error) {
	err = m.each(texts, nn.ModeLogits, append(slices.Clone(m.Adapters), headless{}), func(s *Scored, p *nn.Program) error {
		n, d := len(s.IDs), m.Base.Config.Hidden
		if n == 0 {
			return errors.New("it has no tokens, and config.json names no bos_token_id to begin a text with: give a text that is not empty")
		}
		q := datasets.Sequence{InputIDs: s.IDs, Labels: slices.Repeat([]int32{datasets.NoLoss}, n), DocStarts: []int32{0}}
		step, err := train.StepFrom([]datasets.Sequence{q})
		if err != nil {
			return err
		}
		m.segment(step)
		h := p.Forward(step, false)
		h = h[len(h)-n*d:] // virtual tokens stand before the text
		if kernels.NonFinite(h) >= 0 {
			return errors.New("the model's hidden states are not finite")
		}
		out = append(out, pooled(how, h, d))
		return nil
	})
	return out, err
}

// pooled pools hidden states [n, d].
func pooled(how Pooling, h []float32, d int) []float32 {
	if how == PoolLast {
		return slices.Clone(h[len(h)-d:])
	}
	sum := make([]float64, d)
	for i, v := range h {
		sum[i%d] += float64(v)
	}
	v := make([]float32, d)
	for k := range v {
		v[k] = float32(sum[k] / float64(len(h)/d))
	}
	return v
}

// headless has a program return what the head would read, [T, D]; the head is never computed.
type headless struct{}

// Adapt implements nn.Adapter.
func (headless) Adapt(_ *nn.Builder, s nn.Site) nn.Ref {
	if s.Kind == nn.KindHead {
		return s.In[0]
	}
	return s.Out
}

// EmbedIDs is [Model.Embed] of texts that are tokens already, by the adapters of a slot that the model's programs know; -1 for none.
func (m *Model) EmbedIDs(how Pooling, slot int, texts ...[]int32) ([][]float32, error) {
	if how != PoolMean && how != PoolLast {
		return nil, fmt.Errorf("pooling is %q; it is %s or %s", how, PoolMean, PoolLast)
	}
	list := make([]Scored, len(texts))
	for i, ids := range texts {
		list[i].IDs = ids
	}
	as := *m
	as.over, as.slot = nil, slot
	return as.embed(how, list)
}
