// Package end closes the branches of a pipeline whose work is in the files that it writes, and whose output nobody reads.
package end

import (
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
)

func init() {
	beam.RegisterFunction(key)
	beam.RegisterDoFn(&drainFn{})
	register.Iter1[bool]()
}

// key leaves nothing of an element but that there was one.
func key(_ beam.T) (int, bool) { return 0, true }

type drainFn struct{}

// ProcessElement reads all values and does nothing with them.
func (*drainFn) ProcessElement(_ int, values func(*bool) bool) {
	for v := false; values(&v); {
	}
}

// Of reads the output of the last ParDo of a branch (a PCollection of any single value), beyond a GroupByKey. Without a reader in a stage
// of its own the ParDo's stage has no output, and while a bundle of such a stage runs, Prism 2.77 waits for its end in a loop that never
// blocks (the channel that says that all data has come is closed from the start) and takes a whole core.
func Of(s beam.Scope, output beam.PCollection) {
	s = s.Scope("end.Of")
	beam.ParDo0(s, &drainFn{}, beam.GroupByKey(s, beam.ParDo(s, key, output)))
}
