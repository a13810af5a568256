package recipe

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
)

// named writes each bare name of a list of rules as {rule: name}.
func named(list []any) []any {
	out := make([]any, len(list))
	for i, x := range list {
		if s, ok := x.(string); ok {
			x = map[string]any{"rule": s}
		}
		out[i] = x
	}
	return out
}

// Steps are the settings of a list of rules, such as Prepare.Clean.
func Steps(list []any) ([]map[string]any, error) {
	var out []map[string]any
	for i, x := range named(list) {
		m, ok := x.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("[%d] is %v; write a name, or {rule: NAME} with settings", i, x)
		}
		out = append(out, m)
	}
	return out, nil
}

// validateSteps checks the cleaning rules and steps of deduplication.
func (p *Prepare) validateSteps() error {
	clean, err := Steps(p.Clean)
	if err != nil {
		return fmt.Errorf("prepare.clean%w", err)
	}
	for i, s := range clean {
		if _, err := rules.Decode(s); err != nil {
			return fmt.Errorf("prepare.clean[%d]: %w", i, err)
		}
	}
	steps, err := Steps(p.Dedupe)
	if err != nil {
		return fmt.Errorf("prepare.dedupe%w", err)
	}
	for i, s := range steps {
		if _, err := dedupe.Decode(s); err != nil {
			return fmt.Errorf("prepare.dedupe[%d]: %w", i, err)
		}
	}
	if len(clean)+len(steps) > 0 {
		if _, err := words.For(p.Language); err != nil {
			return fmt.Errorf("prepare.language: %w", err)
		}
	}
	return nil
}
