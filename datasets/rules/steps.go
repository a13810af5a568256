package rules

import "github.com/adaptflow/adaptflow/internal/settings"

// Steps is a list of rules, or of steps of deduplication, with the settings of each: its name under the key "rule". In a recipe a bare name
// is a rule at its published settings, and a name in place of the list is a list of it, as clean: web.
type Steps []map[string]any

// UnmarshalYAML reads names, and mappings of settings.
func (s *Steps) UnmarshalYAML(read func(any) error) (err error) {
	var name string
	if read(&name) == nil && name != "" {
		*s = Steps{{"rule": name}}
		return nil
	}
	*s, err = settings.ReadRows(read, "rule")
	return err
}
