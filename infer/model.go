package infer

import (
	"errors"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// Model is a base model that answers, with adapters or without. [Load] and [Base.With] open one; whoever has the parts may put
// one together, which then stays theirs to free. It may be asked by one goroutine at a time.
type Model struct {
	Dir      string // the base model's folder
	Base     *model.Model
	Adapter  *peft.Adapter // that of a folder alone; nil for none, and for several by name
	Adapters []nn.Adapter  // what programs are compiled with; none for the base alone
	Params   *nn.Params    // of the adapters
	Pool     *pool.Pool
	// Tokenizer and Frame, what stands around a text, are nil until [Model.Text] opens them.
	Tokenizer tokenize.Tokenizer
	Frame     *tokenize.Frame
	// Ends say what the frame is. They are read when it is opened.
	Ends tokenize.Ends
	// Framed: what is generated ends at the tokens that the frame puts after a text, too, as an adapter has learnt it.
	Framed bool
	// CacheDType is that of the keys and values of what is generated: nn.BFloat16 takes half the memory, and rounds them.
	CacheDType nn.DType

	tokens string // folder of the tokenizer
	slot   int    // of the adapters that answer; -1 for none of them
	set    *peft.Set
	over   *Base
}

// Text opens the tokenizer and what stands around a text, once.
func (m *Model) Text() (tokenize.Tokenizer, *tokenize.Frame, error) {
	if m.Tokenizer != nil && m.Frame != nil {
		return m.Tokenizer, m.Frame, nil
	}
	tk, f, err := framed(m.tokens, m.Ends)
	if err != nil {
		return nil, nil, err
	}
	m.Tokenizer, m.Frame = tk, f
	return tk, f, nil
}

// Positions are those that a text has in the model, beside the adapters' virtual tokens.
func (m *Model) Positions() int {
	return m.Base.Config.MaxPositions - nn.PromptOf(m.Adapters).Positions()
}

// Scorer sums the negative log-likelihoods of packed sequences: an evaluate.Scorer.
type Scorer struct {
	*train.Scorer
	slot int
}

// NLL is the negative log-likelihood of the sequences, summed, and the number of tokens it is over.
func (s *Scorer) NLL(seqs []datasets.Sequence) (sum float64, tokens int, err error) {
	return s.SlotNLL(seqs, s.slot)
}

// Scorer makes a program that scores up to tokens tokens at once.
func (m *Model) Scorer(tokens int) (*Scorer, error) {
	s, err := train.NewScorer(m.Base, m.Adapters, m.Params, m.Pool, tokens)
	if err != nil {
		return nil, err
	}
	return &Scorer{s, m.slot}, nil
}

// Classifier makes a program that classifies documents of up to tokens tokens at once.
func (m *Model) Classifier(tokens, classes int) (*train.Classifier, error) {
	if m.set != nil {
		return nil, errors.New("a classifier answers with one adapter, which is opened alone")
	}
	return train.NewClassifier(m.Base, m.Adapters, m.Params, m.Pool, tokens, classes)
}

// As is the model as it answers with some of its adapters by name, added up; with [peft.BaseName] as the base alone. It shares
// all else with m, and is closed with it: at one time one of the two may be asked.
func (m *Model) As(names ...string) (*Model, error) {
	slots, err := m.slots([]string{strings.Join(names, "+")})
	if err != nil {
		return nil, err
	}
	as := *m
	as.over, as.slot = nil, slots[0]
	return &as, nil
}

// segment gives a step the adapters that answer.
func (m *Model) segment(s *nn.Step) {
	if m.slot != 0 {
		s.Segments = []nn.Segment{{End: len(s.Tokens), Slot: m.slot}}
	}
}

// Close frees what was opened for the model; the base's memory when nothing else stands over it. Programs that are compiled of
// it must be closed before. Closing twice does nothing.
func (m *Model) Close() error {
	if m.over == nil {
		return nil
	}
	b := m.over
	m.over = nil
	m.Params.Free()
	m.Pool.Close()
	return b.leave()
}
