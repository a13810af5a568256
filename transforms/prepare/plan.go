package prepare

import (
	"context"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// Job is a job of preparing data before it is run: what it costs at most, and the size of its graph.
type Job struct {
	Cost
	Graph int // bytes
}

// Plan says which jobs preparing v takes by the settings, and what each costs. Nothing is read or run; there need be no input.
func Plan(ctx context.Context, cfg Config, v Volume) ([]Job, error) {
	cfg.Dry, cfg.Shared = true, nil
	cfg.OutDir, cfg.RejectsDir, cfg.StagedDir, cfg.TokenizerDir = "plan://out", "plan://rejects", "plan://staged", "plan://tokenizer"
	cfg.Inputs = nil
	if len(cfg.Sources) == 0 {
		cfg.Inputs = []string{"plan://input"}
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	d := &driver{cfg: cfg, assumed: &v, sources: []datasets.SourceFile{{Path: "plan://input/0.jsonl", Source: "0.jsonl"}}}
	if n := len(cfg.Sources); n > 0 {
		d.sources, d.parts = nil, map[string]int{}
		for i := range n {
			name := fmt.Sprintf("%d.jsonl", i)
			d.sources = append(d.sources, datasets.SourceFile{Path: "plan://input/" + name, Source: name})
			d.parts[name] = i
		}
	}
	d.records, d.tokens, d.packed = storage.Join(cfg.StagedDir, "records"), storage.Join(cfg.StagedDir, "tokens"),
		storage.Join(cfg.StagedDir, "packed")
	graphs := map[string]int{}
	d.run = func(ctx context.Context, p *beam.Pipeline, name string) (err error) {
		graphs[name], err = jobs.GraphBytes(ctx, p)
		return err
	}
	for _, what := range []func(context.Context) error{d.stages, func(context.Context) error { return d.count() }, d.mix, d.pack} {
		if err := what(ctx); err != nil {
			return nil, err
		}
		if cfg.Until != "" {
			break
		}
	}
	var out []Job
	for _, c := range cfg.Costs(v) {
		if graphs[c.Job] == 0 {
			return nil, fmt.Errorf("prepare: there is a formula for %s and no such job", c.Job)
		}
		out = append(out, Job{c, graphs[c.Job]})
	}
	return out, nil
}
