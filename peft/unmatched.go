package peft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/nn"
)

// unmatched refuses a new configuration that names modules which are not there: an entry of target_modules as it was given,
// exclude_modules, or a key of a pattern. HF PEFT warns of the last two and goes on. An opened folder is taken as it is.
func unmatched(m Method, given Names, sites []nn.Site) error {
	all := modules(sites)
	for _, e := range given.List {
		if !slices.ContainsFunc(all, func(n string) bool { return named([]string{e}, n) }) {
			return noTarget("target_modules", []string{e}, sites)
		}
	}
	if out := fieldOf[Names](m.Config(), "exclude_modules"); out.Pattern != "" || len(out.List) > 0 {
		x, err := newMatcher(targetSpec{Exclude: out})
		if err != nil {
			return err
		}
		if ok, err := anyMatch(all, x.excluded); err != nil {
			return err
		} else if !ok {
			return noTarget("exclude_modules", append(slices.Clone(out.List), nonEmpty(out.Pattern)...), sites)
		}
	}
	for _, field := range patternFields(m.Config()) {
		for _, p := range fieldOf[Patterns](m.Config(), field) {
			re, err := compilePy(field, p.Key, suffixMatch)
			if err != nil {
				return err
			}
			if ok, err := anyMatch(m.Targets(), re.match); err != nil {
				return err
			} else if !ok {
				return fmt.Errorf("peft: %s: %s has the key %q, which is the end of no target's name; the nearest target is %s",
					m.Type(), field, p.Key,
					nearestEnd(p.Key, m.Targets()))
			}
		}
	}
	return nil
}

// anyMatch says whether one of the names matches.
func anyMatch(names []string, match func(string) (bool, error)) (bool, error) {
	for _, n := range names {
		if ok, err := match(n); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// nearestEnd is the name whose end of as many parts as key has is nearest to key.
func nearestEnd(key string, names []string) string {
	ends, parts := map[string]string{}, strings.Count(key, ".")+1
	for _, n := range names {
		p := strings.Split(n, ".")
		e := strings.Join(p[max(0, len(p)-parts):], ".")
		if ends[e] == "" {
			ends[e] = n
		}
	}
	return ends[nearest.Name(key, sortedKeys(ends))]
}
