// Package end closes the branches of a pipeline whose work is in the files that it writes, and whose output nobody reads.
package end

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
)

func init() {
	register.Function1x2(keyName)
	register.Function1x2(keyStep)
	register.DoFn2x0[int, func(*string) bool](&namesFn{})
	register.DoFn2x0[int, func(*int) bool](&stepsFn{})
	register.Iter1[string]()
	register.Iter1[int]()
}

func keyName(name string) (int, string) { return 0, name }

func keyStep(step int) (int, int) { return 0, step }

type namesFn struct{}

// ProcessElement reads all names and does nothing with them.
func (*namesFn) ProcessElement(_ int, names func(*string) bool) {
	for s := ""; names(&s); {
	}
}

type stepsFn struct{}

// ProcessElement reads all steps and does nothing with them.
func (*stepsFn) ProcessElement(_ int, steps func(*int) bool) {
	for n := 0; steps(&n); {
	}
}

// Names reads the output (PCollection<string>) of the last ParDo of a branch, beyond a GroupByKey. Without a reader in a stage of its own the ParDo's
// stage has no output, and while a bundle of such a stage runs, Prism 2.77 waits for its end in a loop that never blocks (the channel that says that all
// data has come is closed from the start) and takes a whole core.
func Names(s beam.Scope, names beam.PCollection) {
	s = s.Scope("end.Names")
	beam.ParDo0(s, &namesFn{}, beam.GroupByKey(s, beam.ParDo(s, keyName, names)))
}

// Steps does the same for the steps that training reaches (PCollection<int>).
func Steps(s beam.Scope, steps beam.PCollection) {
	s = s.Scope("end.Steps")
	beam.ParDo0(s, &stepsFn{}, beam.GroupByKey(s, beam.ParDo(s, keyStep, steps)))
}
