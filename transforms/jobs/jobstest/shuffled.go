package jobstest

import (
	"fmt"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph"
)

// Shuffled are the types of what passes between the fused stages of a pipeline: through its GroupByKeys, CoGroupByKeys and Reshuffles.
func Shuffled(t testing.TB, p *beam.Pipeline) (out []string) {
	t.Helper()
	edges, _, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edges {
		if e.Op == graph.CoGBK || e.Op == graph.Reshuffle {
			for _, in := range e.Input {
				out = append(out, fmt.Sprint(in.From.Type()))
			}
		}
	}
	return out
}
