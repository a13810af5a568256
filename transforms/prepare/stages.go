package prepare

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/clean"
	"github.com/adaptflow/adaptflow/transforms/dedupe"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/stage"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// dir is the folder of a stage's intermediate files.
func (d *driver) dir(name string) string { return storage.Join(d.cfg.StagedDir, name) }

// encoded are the settings of a rule or step as JSON, whose keys are sorted.
func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("prepare: settings that were checked cannot be written: %v", err))
	}
	return string(b)
}

// next adds the stage after the given step of deduplication (-1: after cleaning): the next step's signing, or tokenizing.
func (d *driver) next(s beam.Scope, step int, groups beam.PCollection) {
	if step+1 < len(d.cfg.Dedupe) {
		groups = dedupe.Sign(s, &dedupe.SignFn{Settings: d.stepSettings(step + 1), Language: d.cfg.Language, OutDir: d.runs(step + 1)},
			groups)
		end.Of(s, groups)
		return
	}
	if d.cfg.Until != "" {
		end.Of(s, groups)
		return
	}
	summaries, totals := tokenize.Encode(s, &tokenize.EncodeFn{TokenizerDir: d.cfg.TokenizerDir, Engine: d.cfg.Engine, Ends: d.cfg.Ends,
		Before: d.cfg.Before,
		Seed:   d.cfg.Seed, FileOrder: d.cfg.Order == OrderFile, OutDir: d.tokens, RejectsDir: d.cfg.RejectsDir,
		CompletionOnly: d.cfg.CompletionOnlyLoss, AssistantOnly: d.cfg.AssistantOnlyLoss, ApplyChatTemplate: d.cfg.ApplyChatTemplate,
		Labels: d.res.Labels, MaxTokens: d.cfg.longest(), ChatTemplate: d.template,
		Pack: d.cfg.pack()}, groups)
	stage.Keep(s, d.list(tokenize.Name), summaries)
	stage.Total(s, tokenize.TotalsKind, d.total(tokenize.Name), totals)
}

// stages runs the pipelines from files to staged documents.
func (d *driver) stages(ctx context.Context) error {
	names := make([]string, len(d.sources))
	for i, f := range d.sources {
		names[i] = f.Source
	}
	slices.Sort(names)
	var err error
	if d.template, err = d.shared(ctx, d.cfg.ChatTemplate); err != nil {
		return err
	}
	for i, f := range d.sources {
		rank, _ := slices.BinarySearch(names, f.Source)
		file := ingest.File{Ordinal: i, Rank: rank, Source: f.Source}
		if file.Path, err = d.shared(ctx, f.Path); err != nil {
			return err
		}
		if d.parts != nil {
			file.Part = d.parts[f.Source]
			if t := d.cfg.Sources[file.Part].Translation; len(t) == 2 {
				file.From, file.To = t[0], t[1]
			}
		}
		d.files = append(d.files, file)
	}
	if err := checkNames(d.files, ingest.Name); err != nil {
		return err
	}
	p, s := beam.NewPipelineWithRoot()
	pages := ""
	if d.cfg.HTML != nil {
		pages = encoded(d.cfg.HTML)
	}
	files, err := d.listFiles(s)
	if err != nil {
		return err
	}
	groups, read := ingest.Read(s, &ingest.ReadFn{Options: d.cfg.reading(), StagedDir: d.records, RejectsDir: d.cfg.RejectsDir,
		Pages:      pages,
		BlockBytes: d.cfg.Sizes.Block, GroupBytes: d.cfg.Sizes.Group}, files)
	stage.Total(s, ingest.TotalsKind, d.total("read"), read)
	if len(d.cfg.Clean) > 0 {
		chain, err := d.rules(ctx)
		if err != nil {
			return err
		}
		var totals beam.PCollection
		groups, totals = clean.Rules(s, &clean.RulesFn{Rules: chain, Language: d.cfg.Language, OutDir: d.dir(clean.Name),
			RejectsDir: d.cfg.RejectsDir}, groups)
		stage.Total(s, stage.TotalsKind, d.total(clean.Name), totals)
	}
	// The numbers of classes are known when all has been read: tokenizing waits for them.
	apart := d.cfg.classes() && len(d.cfg.Dedupe) == 0
	if apart || len(d.cfg.Dedupe) > 0 {
		d.keepGroups(s, "read", groups)
	}
	if !apart {
		d.next(s, -1, groups)
	}
	if err := d.run(ctx, p, "adaptflow-ingest"); err != nil {
		return err
	}
	if err := d.countRead(); err != nil {
		return err
	}
	if len(d.cfg.Clean) > 0 {
		if err := d.countStage(clean.Name); err != nil {
			return err
		}
	}
	if apart && d.left > 0 {
		p, s := beam.NewPipelineWithRoot()
		d.next(s, -1, d.listGroups(s))
		if err := d.run(ctx, p, "adaptflow-tokenize"); err != nil {
			return err
		}
	}
	for i := range d.cfg.Dedupe {
		if d.left == 0 {
			break
		}
		if err := d.dedupe(ctx, i, names); err != nil {
			return err
		}
	}
	return nil
}

// checkNames refuses two sources that the files written for them are named alike by, which are named by a hash.
func checkNames(files []ingest.File, name func(source string) string) error {
	of := make(map[string]string, len(files))
	for _, f := range files {
		n := name(f.Source)
		if other, ok := of[n]; ok {
			return fmt.Errorf("the input files %s and %s differ in nothing that what is written for them is named by: rename one of "+
				"the two", other, f.Source)
		}
		of[n] = f.Source
	}
	return nil
}

// countRead takes what reading gave into the funnel.
func (d *driver) countRead() error {
	if d.assumed != nil {
		d.left, d.res.Labels = (&coster{cfg: &d.cfg, v: *d.assumed}).begin().groups, []string{"0", "1"}
		return nil
	}
	sum, err := stage.ReadTotal[ingest.Totals](d.total("read"))
	if err != nil {
		return err
	}
	if sum.Files != int64(len(d.files)) {
		return fmt.Errorf("%d of %d input files were read to their end; the files in %s changed while this ran, run it again alone",
			sum.Files, len(d.files), d.cfg.StagedDir)
	}
	st := Stage{Name: "read", In: sum.Read, Kept: sum.Kept, Rejected: datasets.AddCounts(map[string]int64{}, sum.Rejected)}
	d.res.RejectFiles, d.left, d.first = sum.Rejects, sum.Groups, sum.First
	d.res.Tally.Add(datasets.Tally{Unused: sum.Unused, Notes: sum.Notes})
	if err := d.knownToTemplate(); err != nil {
		return err
	}
	if d.cfg.classes() {
		if d.res.Labels = d.cfg.Labels; d.res.Labels == nil {
			d.res.Labels = slices.Collect(maps.Keys(sum.Labels))
			datasets.SortLabels(d.res.Labels)
		}
		d.meta.Labels = d.res.Labels
		if n := len(d.res.Labels); n < 2 {
			return fmt.Errorf("the input has %d classes (column %s): a classifier needs two; see %s for what could not be read", n,
				d.cfg.LabelColumn, d.cfg.RejectsDir)
		}
	}
	for _, l := range slices.Sorted(maps.Keys(sum.Layouts)) {
		d.res.Layouts = append(d.res.Layouts, fmt.Sprintf("%d files of %s", sum.Layouts[l], l))
	}
	d.res.Read, d.res.Kept, d.res.Rejected = st.In, st.Kept, map[string]int64{}
	return d.funnel(st)
}

// countStage takes what a stage made of the groups into the funnel.
func (d *driver) countStage(name string) error {
	if d.assumed != nil {
		return nil
	}
	sum, err := stage.ReadTotal[stage.Totals](d.total(name))
	if err != nil {
		return err
	}
	if sum.Groups != d.left {
		return d.incomplete(name, sum.Groups)
	}
	d.left = sum.Left
	d.res.RejectFiles = append(d.res.RejectFiles, sum.Rejects...)
	st := Stage{Name: name, In: sum.In, Kept: sum.Kept, Changed: sum.Changed,
		Rejected: datasets.AddCounts(map[string]int64{}, sum.Rejected), Counters: map[string]int64{}}
	for c, n := range sum.Counters {
		st.Counters[c] += n
	}
	return d.funnel(st)
}

// incomplete is the error of a stage that ended before all groups of records had passed it.
func (d *driver) incomplete(name string, groups int64) error {
	return fmt.Errorf("%s was given %d groups of records and says of %d what became of them; the files in %s changed while this ran, "+
		"run it again alone", name, d.left, groups, d.cfg.StagedDir)
}

// funnel adds a stage and checks that nothing is lost between two.
func (d *driver) funnel(st Stage) error {
	if n := len(d.res.Funnel); n > 0 && d.res.Funnel[n-1].Kept != st.In {
		return fmt.Errorf("%s kept %d records and %s was given %d; the files in %s changed while this ran, run it again alone",
			d.res.Funnel[n-1].Name,
			d.res.Funnel[n-1].Kept, st.Name, st.In, d.cfg.StagedDir)
	}
	bad := st.In - st.Kept
	for r, n := range st.Rejected {
		d.res.Rejected[r] += n
		bad -= n
	}
	if bad != 0 {
		return fmt.Errorf("%s lost count of %d records", st.Name, bad)
	}
	d.res.Kept = st.Kept
	d.res.Funnel = append(d.res.Funnel, st)
	return nil
}
