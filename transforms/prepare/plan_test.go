package prepare

import (
	"context"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// TestPlan: the jobs that are planned are those that run, their graphs are as large, and a thousand times the text changes neither.
func TestPlan(t *testing.T) {
	sources := mixed(t, t.TempDir())
	sources[0].Weight, sources[1].Weight, sources[2].Weight = 2, 1, 1
	cfg := mixConfig(t, byteTokenizer(t), sources)
	cfg.Clean = []map[string]any{{"rule": "length", "min_words": 1}}
	cfg.Dedupe = []map[string]any{{"rule": "exact"}, {"rule": "minhash"}}
	ran := map[string]int{}
	if _, err := Execute(t.Context(), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
		ran[name] = graphSize(t, p)
		return jobs.Prism(ctx, p, name)
	}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []Volume{{Bytes: 1 << 20, Files: 4, Documents: 500, Tokens: 5000},
		{Bytes: 1 << 40, Files: 100_000, Documents: 1 << 29, Tokens: 1 << 38}} {
		all, err := Plan(t.Context(), cfg, v)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, j := range all {
			seen[j.Job] = true
			if a, b := j.Graph, ran[j.Job]; b == 0 || j.Job != "adaptflow-pack" && (a < b-b/4 || a > b+b/4) || a > 2*b {
				t.Errorf("%s: a graph of %d bytes is planned, and is %d", j.Job, a, b)
			}
			if j.Opens <= 0 || j.Read <= 0 || j.Dollars() <= 0 {
				t.Errorf("%+v", j)
			}
		}
		if len(seen) != len(ran) {
			t.Errorf("%d jobs are planned, and are %d", len(seen), len(ran))
		}
	}
	cfg.Until = UntilClean
	if all, err := Plan(t.Context(), cfg, Volume{Bytes: 1, Files: 1}); err != nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	cfg.Until, cfg.Dedupe, cfg.Sources, cfg.RowKind = "", nil, nil, datasets.RowClassification
	cfg.LabelColumn = "label"
	if all, err := Plan(t.Context(), cfg, Volume{Bytes: 1, Files: 1}); err != nil || len(all) != 3 {
		t.Errorf("%+v, %v", all, err)
	}
}
