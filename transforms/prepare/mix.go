package prepare

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/transforms/mix"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

// mixing is the mix of the settings.
func (c *Config) mixing() datasets.Mix {
	m := c.Mix
	m.Sources = nil
	for _, s := range c.Sources {
		m.Sources = append(m.Sources, s.MixSource)
	}
	return m
}

// findSources resolves the globs of the input. Of named sources it returns the position of the source of each file's name.
func (c *Config) findSources() ([]datasets.SourceFile, map[string]int, error) {
	globs := slices.Clone(c.Inputs)
	for _, s := range c.Sources {
		globs = append(globs, s.Input...)
	}
	find := datasets.FindSources
	if c.Dry {
		find = datasets.NameSources
	}
	files, err := find(globs)
	if err != nil || len(c.Sources) == 0 {
		return files, nil, err
	}
	parts := map[string]int{}
	for i, s := range c.Sources {
		own, err := find(s.Input)
		if err != nil {
			return nil, nil, fmt.Errorf("source %s: %w", s.Name, err)
		}
		for _, f := range own {
			if k, ok := parts[f.Path]; ok {
				return nil, nil, fmt.Errorf("%s belongs to the sources %s and %s: a file is of one source", f.Path,
					c.Sources[k].Name, s.Name)
			}
			parts[f.Path] = i
		}
	}
	byName := map[string]int{}
	for _, f := range files {
		byName[f.Source] = parts[f.Path]
	}
	return files, byName, nil
}

// countMix runs one pass over the staged documents and adds up what it counted, by source.
func (d *driver) countMix(ctx context.Context, pass int, bins []int) ([]datasets.Histogram, [][]datasets.MixEntry, error) {
	path := d.total(fmt.Sprintf("%s-%d", mix.Name, pass))
	p, s := beam.NewPipelineWithRoot()
	stage.Total(s, mix.TotalsKind, path, mix.Counts(s, &mix.CountFn{Split: d.plan.Split, Seed: d.cfg.Seed, Bins: bins}, d.listStaged(s)))
	if err := d.run(ctx, p, "adaptflow-mix"); err != nil || d.assumed != nil {
		return nil, nil, err
	}
	sum, err := stage.ReadTotal[mix.Totals](path)
	if err != nil {
		return nil, nil, err
	}
	if sum.Documents != d.res.Kept {
		return nil, nil, fmt.Errorf("%d documents were tokenized and %d counted; the files in %s changed while this ran, run it "+
			"again alone", d.res.Kept, sum.Documents, d.cfg.StagedDir)
	}
	hs, entries := make([]datasets.Histogram, len(d.cfg.Sources)), make([][]datasets.MixEntry, len(d.cfg.Sources))
	for i := range hs {
		hs[i] = datasets.NewHistogram()
		if c := sum.Sources[i]; c != nil {
			hs[i].Merge(c.Histogram)
			entries[i] = c.Entries
		}
	}
	return hs, entries, nil
}

// mix decides how often each document is used, and how many shards that makes.
func (d *driver) mix(ctx context.Context) error {
	m := d.cfg.mixing()
	if !m.On() {
		return nil
	}
	hs, _, err := d.countMix(ctx, 0, nil)
	if err != nil {
		return err
	}
	if d.assumed != nil {
		d.plan.Quotas = make([]datasets.Quota, len(m.Sources))
		return nil
	}
	// bounds finds the beginnings that keep to the limits (negative: none).
	bounds := func(pass int, documents, tokens []int64) ([]datasets.Bound, error) {
		out, bins, some := make([]datasets.Bound, len(hs)), make([]int, len(hs)), false
		for i, h := range hs {
			bins[i], out[i] = h.Find(documents[i], tokens[i])
			some = some || bins[i] >= 0
		}
		if !some {
			return out, nil
		}
		_, entries, err := d.countMix(ctx, pass, bins)
		if err != nil {
			return nil, err
		}
		for i, b := range bins {
			if b >= 0 {
				out[i] = datasets.Cut(out[i], entries[i], documents[i], tokens[i])
			}
		}
		return out, nil
	}
	n := len(m.Sources)
	quotas, docs, tokens := make([]datasets.Quota, n), make([]int64, n), make([]int64, n)
	for i, s := range m.Sources {
		docs[i], tokens[i] = -1, -1
		if s.MaxDocuments > 0 {
			docs[i] = s.MaxDocuments
		}
		if s.MaxTokens > 0 {
			tokens[i] = s.MaxTokens
		}
	}
	caps, err := bounds(1, docs, tokens)
	if err != nil {
		return err
	}
	has, rest := make([]int64, n), make([]int64, n)
	for i, s := range m.Sources {
		q := &quotas[i]
		q.Cap, q.Reason, q.Limit = caps[i], datasets.ReasonMaxTokens, s.MaxTokens
		if q.Cap.Documents == s.MaxDocuments {
			q.Reason, q.Limit = datasets.ReasonMaxDocuments, s.MaxDocuments
		}
		docs[i], has[i] = -1, q.Cap.Tokens
	}
	total := int64(0)
	for i, t := range m.Targets(has) {
		if has[i] > 0 {
			quotas[i].Whole, rest[i] = int(t/has[i]), t%has[i]
		}
		total += t
	}
	parts, err := bounds(2, docs, rest)
	if err != nil {
		return err
	}
	for i := range quotas {
		quotas[i].Part = parts[i]
	}
	d.plan.Quotas, d.plan.Seed = quotas, d.cfg.Seed
	if total == 0 {
		return fmt.Errorf("the caps of the sources leave no document to train on: raise max_documents or max_tokens")
	}
	d.plan.Train = datasets.NumShards(total, d.cfg.TokensPerShard)
	return nil
}

// countMixed adds the stage of mixing to the funnel, from what was routed.
func (d *driver) countMixed() error {
	if d.plan.Quotas == nil {
		return nil
	}
	st := Stage{Name: mix.Name, Rejected: map[string]int64{}, Counters: map[string]int64{}}
	routed, err := stage.ReadTotal[pack.Routed](d.total("routed"))
	if err != nil {
		return err
	}
	for part, r := range *routed {
		name := d.cfg.Sources[part].Name
		st.In, st.Kept = st.In+r.Documents, st.Kept+r.Kept
		for reason, n := range r.Rejected {
			st.Rejected[mix.Name+"."+reason] += n
		}
		for k, n := range map[string]int64{"documents": r.Kept, "repeated": r.Repeated, "tokens": r.Tokens} {
			st.Counters[name+"."+k] += n
		}
		d.repeated += r.Repeated
		d.res.RejectFiles = datasets.AddNames(d.res.RejectFiles, r.Rejects)
	}
	return d.funnel(st)
}

// origins is the name of the source of each file's name; nil where there are no named sources.
func (d *driver) origins() map[string]string {
	if len(d.cfg.Sources) == 0 {
		return nil
	}
	out := map[string]string{}
	for file, i := range d.parts {
		out[file] = d.cfg.Sources[i].Name
	}
	return out
}
