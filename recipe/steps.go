package recipe

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
)

// CheckSteps checks the cleaning rules and steps of deduplication. Files on object stores that they name are read by the run.
func (p *Prepare) CheckSteps() error {
	for i, s := range p.Clean {
		if err := rules.Check(s); err != nil {
			return fmt.Errorf("prepare.clean[%d]: %w", i, err)
		}
	}
	for i, s := range p.Dedupe {
		if _, err := dedupe.Decode(s); err != nil {
			return fmt.Errorf("prepare.dedupe[%d]: %w", i, err)
		}
	}
	if len(p.Clean)+len(p.Dedupe) > 0 {
		if _, err := words.For(p.Language); err != nil {
			return fmt.Errorf("prepare.language: %w", err)
		}
	}
	return nil
}
