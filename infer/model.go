package infer

import (
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// Model is a base model that answers, with adapters or without. [Load] and [Base.With] open one; whoever has the parts may put one together,
// which then stays theirs to free.
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

	tokens string // folder of the tokenizer
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

// Scorer makes a program that scores up to tokens tokens at once.
func (m *Model) Scorer(tokens int) (*train.Scorer, error) {
	return train.NewScorer(m.Base, m.Adapters, m.Params, m.Pool, tokens)
}

// Classifier makes a program that classifies documents of up to tokens tokens at once.
func (m *Model) Classifier(tokens, classes int) (*train.Classifier, error) {
	return train.NewClassifier(m.Base, m.Adapters, m.Params, m.Pool, tokens, classes)
}

// Close frees what was opened for the model; the base's memory when nothing else stands over it. Programs that are compiled of it must be
// closed before. Closing twice does nothing.
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
