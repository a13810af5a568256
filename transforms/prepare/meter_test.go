package prepare

import (
	"context"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"

	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

// TestStepsAreCounted: what the engine knows of each step is what the run's own summaries say.
func TestStepsAreCounted(t *testing.T) {
	in := t.TempDir()
	texts := corpus(t, in)
	cfg := config(t, byteTokenizer(t), in)
	for i := range cfg.Inputs {
		cfg.Inputs[i] = filepath.Join(in, "*")
	}
	counted := map[string]map[string]int64{} // by step and name
	fill := metrics.DistributionValue{}
	res, err := Execute(t.Context(), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
		m, err := jobs.PrismMetrics(ctx, p, name)
		if err != nil {
			return err
		}
		for _, c := range m.AllMetrics().Counters() {
			if c.Key.Namespace != meter.Namespace {
				continue
			}
			step, _, _ := strings.Cut(c.Key.Step, "/")
			if counted[step] == nil {
				counted[step] = map[string]int64{}
			}
			counted[step][c.Key.Name] += c.Result()
		}
		for _, d := range m.AllMetrics().Distributions() {
			if d.Key.Name == string(meter.PackingFill) {
				v := d.Result()
				fill.Count, fill.Sum = fill.Count+v.Count, fill.Sum+v.Sum
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	read := int64(0)
	for _, s := range texts {
		read += int64(len(s))
	}
	want := map[string]int64{string(meter.DocumentsIn): res.Read, string(meter.DocumentsOut): res.Kept, string(meter.BytesOut): read}
	for reason, n := range res.Rejected {
		want["rejected."+reason] = n
	}
	got := counted["ingest.Read"]
	delete(got, string(meter.BytesIn))
	if !maps.Equal(got, want) {
		t.Errorf("ingest.Read counted %v, want %v", got, want)
	}
	tokens, rows := int64(0), int64(0)
	for _, s := range append(sequences(t, res.Train), sequences(t, res.Validation)...) {
		tokens, rows = tokens+int64(len(s.InputIDs)), rows+1
	}
	want = map[string]int64{string(meter.DocumentsIn): res.Kept, string(meter.DocumentsOut): res.Kept, string(meter.BytesIn): read,
		string(meter.TokensOut): tokens}
	if got := counted["tokenize.Encode"]; !maps.Equal(got, want) {
		t.Errorf("tokenize.Encode counted %v, want %v", got, want)
	}
	want = map[string]int64{string(meter.DocumentsIn): res.Kept, string(meter.TokensIn): tokens, string(meter.TokensOut): tokens,
		string(meter.SequencesOut): rows}
	if got := counted["pack.Shards"]; !maps.Equal(got, want) {
		t.Errorf("pack.Shards counted %v, want %v", got, want)
	}
	if n := int64(len(res.Train) + len(res.Validation)); fill.Count != n || fill.Sum < 500*n || fill.Sum > 1000*n {
		t.Errorf("the fill of %d shards is counted as %+v", n, fill)
	}
}
