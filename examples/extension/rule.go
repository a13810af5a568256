package main

import (
	"fmt"
	"unicode"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

func init() {
	rules.Register(rules.Entry{Name: "shouting", New: func() rules.Rule { return &shouting{MaxShare: 0.5} }})
}

// shouting drops documents of which more than a share of the letters are capitals.
type shouting struct {
	MaxShare float64 `json:"max_share" yaml:"max_share" help:"capitals that a document may have, of its letters"`
}

// Name implements rules.Rule.
func (*shouting) Name() string { return "shouting" }

// Prepare implements rules.Rule.
func (r *shouting) Prepare() error {
	if r.MaxShare < 0 || r.MaxShare > 1 {
		return fmt.Errorf("shouting: max_share is %g; it must be a share, from 0 to 1", r.MaxShare)
	}
	return nil
}

// Apply implements rules.Rule.
func (r *shouting) Apply(d *rules.Doc) rules.Verdict {
	letters, capitals := 0, 0
	for _, c := range d.Text {
		if unicode.IsLetter(c) {
			letters++
		}
		if unicode.IsUpper(c) {
			capitals++
		}
	}
	if share := float64(capitals) / float64(max(letters, 1)); share > r.MaxShare {
		return rules.Verdict{Reason: "too_loud", Value: fmt.Sprintf("%.2f", share), Threshold: fmt.Sprint(r.MaxShare)}
	}
	return rules.Verdict{Keep: true, Text: d.Text}
}
