package prepare

import (
	"context"
	"fmt"
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/stage"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// count adds up the summaries of tokenizing, whose names follow from the groups, and plans the shards.
func (d *driver) count() error {
	if d.assumed != nil {
		d.shards(d.assumed.Tokens, datasets.NewSplit(d.cfg.ValidationFraction, 0, math.MaxUint64))
		return nil
	}
	sum, err := stage.ReadTotal[tokenize.Totals](d.total(tokenize.Name))
	if err != nil {
		return err
	}
	if sum.Groups != d.left {
		return d.incomplete(tokenize.Name, sum.Groups)
	}
	st := Stage{Name: tokenize.Name, In: sum.Docs, Kept: sum.Docs, Rejected: sum.Rejected, Counters: sum.Counters}
	for _, n := range sum.Rejected {
		st.In += n
	}
	d.res.RejectFiles = append(d.res.RejectFiles, sum.Rejects...)
	tokens := sum.Tokens
	if len(st.Rejected)+len(st.Counters) > 0 {
		if err := d.funnel(st); err != nil {
			return err
		}
	}
	if tokens == 0 {
		what := fmt.Sprintf("there is no text in the %d input files (%s)", len(d.sources), d.sources[0].Path)
		if len(d.sources) == 1 {
			what = fmt.Sprintf("input %s: there is no text in it", d.sources[0].Path)
		}
		if d.res.Read > 0 {
			text := fmt.Sprintf("%s: %d records read, all rejected or empty: %s; see %s%s", what, d.res.Read, Reasons(d.res.Rejected),
				d.cfg.RejectsDir, d.advice())
			if d.res.Rejected[tokenize.Name+"."+datasets.ReasonNothingToLearn] > 0 {
				return &SilentError{text, &d.res}
			}
			return noTextError(text)
		}
		return noTextError(what)
	}
	d.shards(tokens, datasets.NewSplit(d.cfg.ValidationFraction, sum.MinSplit, sum.MaxSplit))
	return nil
}

// shards plans the shards of so many tokens.
func (d *driver) shards(tokens int64, split datasets.Split) {
	d.plan = pack.Plan{Train: datasets.NumShards(tokens, d.cfg.TokensPerShard), Split: split}
	if d.plan.Split.On {
		d.plan.Validation = datasets.NumShards(int64(math.Ceil(float64(tokens)*d.cfg.ValidationFraction)), d.cfg.TokensPerShard)
	}
	if d.cfg.Order == OrderFile {
		d.plan.Train, d.plan.Validation = 1, min(d.plan.Validation, 1)
	}
}

// pack runs the second pipeline: staged documents → shards.
func (d *driver) pack(ctx context.Context) error {
	p, s := beam.NewPipelineWithRoot()
	staged := d.listStaged(s)
	d.gatherPrints(s)
	shards, routed := pack.Shards(s, &pack.ShardFn{Plan: d.plan, Options: d.cfg.pack(), Meta: d.meta, FileOrder: d.cfg.Order == OrderFile,
		OutDir: d.cfg.OutDir, InfoDir: d.packed, RejectsDir: d.cfg.RejectsDir, Files: d.left,
		PartBytes: d.cfg.Sizes.Part}, staged)
	stage.Total(s, pack.TotalsKind, d.total("pack"), pack.Described(s, shards))
	stage.Total(s, pack.RoutedKind, d.total("routed"), routed)
	return d.run(ctx, p, "adaptflow-pack")
}

// finish collects the shards, checks that no document was lost, and writes the manifest.
func (d *driver) finish() error {
	m := &datasets.Manifest{Labels: d.res.Labels, SchemaVersion: datasets.SchemaVersion, Version: d.cfg.Version, Kind: d.meta.Kind,
		TokenizerHash:  d.meta.TokenizerHash,
		SequenceLength: d.cfg.SequenceLength, Packing: d.cfg.Strategy, Isolate: d.cfg.IsolateDocuments, Seed: d.cfg.Seed,
		Read: d.res.Read, Kept: d.res.Kept, Rejected: d.res.Rejected, Funnel: d.res.Funnel, Formats: d.res.Layouts,
		Unused: d.res.Tally.Unused, Notes: d.res.Tally.Notes, Train: []datasets.ShardInfo{}, Validation: []datasets.ShardInfo{}}
	if !d.cfg.Before {
		bos, eos := d.frame.BOS(), d.frame.EOS()
		m.AddBOS, m.AddEOS, m.DocumentSeparator = &bos, &eos, d.cfg.Ends.Separator
	}
	var docs int64
	sum, err := stage.ReadTotal[pack.Totals](d.total("pack"))
	if err != nil {
		return err
	}
	for _, s := range sum.Shards { // of the plan's those that a document fell to
		shard, info := s.Number, s.Info
		docs += info.Stats.Docs
		m.DroppedTokens += info.Stats.Dropped
		if info.Shard.Rows == 0 { // drop_last dropped all of it
			if err := storage.Remove(storage.Join(d.cfg.OutDir, info.Shard.Path)); err != nil {
				return err
			}
			continue
		}
		m.Sequences += info.Shard.Rows
		m.Tokens += info.Shard.Tokens
		ref := ShardRef{Path: storage.Join(d.cfg.OutDir, info.Shard.Path), SHA256: info.Shard.SHA256, Rows: info.Shard.Rows,
			Tokens:     info.Shard.Tokens,
			Supervised: info.Shard.Supervised, RowGroups: len(info.Shard.RowGroups)}
		for _, g := range info.Shard.RowGroups {
			ref.RowGroupSupervised = append(ref.RowGroupSupervised, g.Supervised)
		}
		if shard < d.plan.Train {
			m.Train, d.res.Train = append(m.Train, info.Shard), append(d.res.Train, ref)
		} else {
			m.Validation, d.res.Validation = append(m.Validation, info.Shard), append(d.res.Validation, ref)
		}
	}
	if docs != d.res.Kept+d.repeated {
		return fmt.Errorf("%d documents were kept, %d more are repetitions, and %d were packed; the files in %s changed while this ran, "+
			"run it again alone", d.res.Kept, d.repeated, docs,
			d.cfg.StagedDir)
	}
	if m.Sequences == 0 {
		return fmt.Errorf("no sequence of %d tokens is full, and drop_last drops the rest; lower sequence_length or give more text",
			d.cfg.SequenceLength)
	}
	m.FillRate = float64(m.Tokens) / float64(m.Sequences*int64(d.cfg.SequenceLength))
	d.res.Tokens, d.res.Dropped, d.res.Sequences, d.res.FillRate = m.Tokens, m.DroppedTokens, m.Sequences, m.FillRate
	d.res.ManifestPath, err = datasets.WriteManifest(d.cfg.OutDir, m)
	return err
}
