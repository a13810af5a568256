package main

import (
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

func init() {
	peft.Register(peft.Row{Type: "OFFSET", New: func() peft.Method { return &offset{} },
		Doc: "a trained offset of the outputs of linear layers"})
}

// offset adds a trained vector to the output of linear layers, as BitFit trains biases (Ben Zaken et al. 2022, arXiv:2106.10199).
type offset struct {
	peft.Tuner
	cfg struct {
		peft.Common
		peft.TargetFields
	}
}

// Config implements peft.Method.
func (m *offset) Config() any { return &m.cfg }

// Attach implements peft.Method.
func (m *offset) Attach(sites []nn.Site, env peft.Env) error {
	return m.Tune("OFFSET", &m.cfg, sites, env, func(l *peft.Layer) (peft.Wire, error) {
		l.Param("offset", nil, 1, l.Out)
		return func(b *nn.Builder, s nn.Site, p []nn.Ref) nn.Ref { return b.Apply(&nn.AddBias{D: l.Out}, s.Out, p[0]) }, nil
	})
}
