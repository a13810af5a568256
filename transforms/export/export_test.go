package export

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/measure"
)

// TestNumbersThatAreNone: results before training in which a measure found no number travel with the job.
func TestNumbersThatAreNone(t *testing.T) {
	before := &measure.Results{More: map[string][]measure.Line{"own": {{Numbers: measure.Numbers{"most": math.NaN()}}}}}
	p, s := beam.NewPipelineWithRoot()
	if _, err := Write(s, Job{Before: before, Output: "here"}, beam.Create(s, "")); err != nil {
		t.Fatal(err)
	}
	edges, _, err := p.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edges {
		if e.DoFn == nil || e.DoFn.Recv == nil {
			continue
		}
		f, ours := e.DoFn.Recv.(*WriteFn)
		if !ours {
			continue
		}
		var j Job
		if err := json.Unmarshal([]byte(f.Job), &j); err != nil || !strings.Contains(f.Job, `"most":null`) {
			t.Fatal(f.Job, err)
		}
		if n := j.Before.More["own"][0].Numbers["most"]; !math.IsNaN(n) || j.Output != "here" {
			t.Errorf("%+v", j)
		}
		return
	}
	t.Error("nothing writes")
}
