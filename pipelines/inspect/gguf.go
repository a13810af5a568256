package inspect

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/adaptflow/adaptflow/internal/gguf"
	"github.com/adaptflow/adaptflow/pipelines/report"
)

// inspectGGUF describes a GGUF file: what it is, how it stores its values, its keys but for the long ones, and its tensors.
func inspectGGUF(path string) ([]report.Fact, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	type count struct{ tensors, values int }
	counts, values := map[string]count{}, 0
	var tensors []report.Fact
	for _, name := range f.Order() {
		i, _ := f.Tensor(name)
		c := counts[i.Type.String()]
		counts[i.Type.String()] = count{c.tensors + 1, c.values + i.Len()}
		values += i.Len()
		tensors = append(tensors, report.NewFact(name, fmt.Sprintf("%s %v", i.Type, i.Shape)))
	}
	facts := report.Facts("GGUF", path, "version", f.Version(), "tensors", len(tensors), "parameters", values)
	for _, name := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return counts[b].values - counts[a].values }) {
		c := counts[name]
		facts = append(facts, report.NewFact("stored as "+name, fmt.Sprintf("%d tensors, %d values", c.tensors, c.values)))
	}
	for _, kv := range f.Meta {
		facts = append(facts, report.NewFact(kv.Key, shortly(kv.Value)))
	}
	return append(facts, tensors...), nil
}

// shortly is a value of a key in a line: of a long one its beginning.
func shortly(v any) string {
	const most = 80
	s := ""
	switch a := reflect.ValueOf(v); a.Kind() {
	case reflect.String:
		s = fmt.Sprintf("%q", v)
	case reflect.Slice:
		s = fmt.Sprintf("%d values: %v", a.Len(), a.Slice(0, min(a.Len(), 8)))
	default:
		s = fmt.Sprint(v)
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
