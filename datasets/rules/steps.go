package rules

import "fmt"

// Steps is a list of rules, or of steps of deduplication, with the settings of each: its name under the key "rule". In a recipe a bare name
// is a rule at its published settings.
type Steps []map[string]any

// UnmarshalYAML reads names, and mappings of settings.
func (s *Steps) UnmarshalYAML(read func(any) error) error {
	var list []any
	if err := read(&list); err != nil {
		return err
	}
	*s = Steps{}
	for i, x := range list {
		switch x := x.(type) {
		case string:
			*s = append(*s, map[string]any{"rule": x})
		case map[string]any:
			*s = append(*s, x)
		default:
			return fmt.Errorf("[%d] is %v; write a name, or {rule: NAME} with settings", i, x)
		}
	}
	return nil
}
