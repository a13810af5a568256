package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
)

// Fact is one line of what is shown of a file or a folder.
type Fact struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// NewFact is a line of a name and what stands behind it.
func NewFact(name string, value any) Fact { return Fact{Name: name, Value: value} }

// Facts are lines of names and values in turn.
func Facts(pairs ...any) (out []Fact) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, NewFact(pairs[i].(string), pairs[i+1]))
	}
	return out
}

// FunnelFacts shows what each stage of preparing took out.
func FunnelFacts(funnel []datasets.FunnelStage) []Fact {
	var out []Fact
	for _, s := range funnel {
		out = append(out, NewFact(s.Name, fmt.Sprintf("%d in, %d kept, %d changed", s.In, s.Kept, s.Changed)))
		for _, k := range slices.Sorted(maps.Keys(s.Rejected)) {
			out = append(out, NewFact("  rejected: "+k, s.Rejected[k]))
		}
		for _, k := range slices.Sorted(maps.Keys(s.Counters)) {
			out = append(out, NewFact("  counted: "+k, s.Counters[k]))
		}
	}
	return out
}

// TallyFacts shows the fields of rows that were not used, and what was noted of records, with their numbers.
func TallyFacts(unused, notes map[string]int64) (out []Fact) {
	for _, k := range slices.Sorted(maps.Keys(unused)) {
		out = append(out, NewFact("field not used: "+k, fmt.Sprintf("in %d rows", unused[k])))
	}
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		out = append(out, NewFact("noted: "+k, fmt.Sprintf("%d records", notes[k])))
	}
	return out
}

// OneLine is the beginning of a text, its white space single blanks.
func OneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 160 {
		s = string(r[:160]) + "…"
	}
	return s
}
