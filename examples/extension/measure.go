package main

import (
	"context"
	"strings"
	"unicode/utf8"

	"github.com/adaptflow/adaptflow/measure"
)

func init() {
	measure.Register(measure.Measure{
		Name:     "repeats",
		Doc:      "how many of the words that a language model says it has said before",
		Columns:  []measure.Column{{Name: "repeated words", Better: measure.Lower, Percent: true}},
		Settings: func() any { return &repeats{MinLetters: 1} },
		Run:      repeated,
	})
}

// repeats are the settings of the measure.
type repeats struct {
	MinLetters int `json:"min_letters" yaml:"min_letters" bounds:"[1,100]" help:"letters of a word that counts"`
}

// repeated counts the words of the samples, which a measure before it in the table has drawn.
func repeated(_ context.Context, in *measure.Input, out *measure.Results) error {
	own, err := in.Settings()
	if err != nil {
		return err
	}
	again, all := 0, 0
	for _, s := range out.Samples {
		seen := map[string]bool{}
		for _, w := range strings.Fields(s.Text) {
			if utf8.RuneCountInString(w) < own.(*repeats).MinLetters {
				continue
			}
			if all++; seen[w] {
				again++
			}
			seen[w] = true
		}
	}
	if all > 0 {
		out.Add(in.Row, measure.Line{Numbers: measure.Numbers{"repeated words": float64(again) / float64(all)}})
	}
	return nil
}
