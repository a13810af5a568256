// Package dedupe has the transforms of deduplication. Signing writes sorted runs of keys beside the records; the phases of a plan in
// datasets/dedupe find what is repeated; filtering drops it. What travels are names of files and numbers of tasks, and neither a graph nor
// what the driver reads grows with the data.
package dedupe

import (
	"github.com/adaptflow/adaptflow/transforms/ingest"
)

// rank is how a source is numbered in IDs; 0 is the index's.
func rank(g ingest.Group) uint32 { return uint32(g.Rank) + 1 }
