package jobstest

import (
	"fmt"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/transforms/end"
)

func init() { beam.RegisterDoFn(&collectFn{}) }

// Seen is an element that came out of a pipeline in this process.
type Seen struct {
	Window string // as it prints
	Value  any
}

// seen are the elements that were collected, by collection.
var seen struct {
	sync.Mutex
	of [][]Seen
}

// Collect reads a collection to the end. What it returns gives its elements, in no order, once the pipeline has run in this process.
func Collect(s beam.Scope, elements beam.PCollection) func() []Seen {
	seen.Lock()
	defer seen.Unlock()
	n := len(seen.of)
	seen.of = append(seen.of, nil)
	s = s.Scope("jobstest.Collect")
	end.Of(s, beam.ParDo(s, &collectFn{N: n}, elements))
	return func() []Seen {
		seen.Lock()
		defer seen.Unlock()
		return seen.of[n]
	}
}

// collectFn keeps elements in this process.
type collectFn struct{ N int }

// ProcessElement keeps one.
func (f *collectFn) ProcessElement(w beam.Window, x beam.T) bool {
	seen.Lock()
	defer seen.Unlock()
	seen.of[f.N] = append(seen.of[f.N], Seen{fmt.Sprint(w), x})
	return true
}
