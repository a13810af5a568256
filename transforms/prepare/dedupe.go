package prepare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/dedupe"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

// stepName names a step of deduplication, in its folder and the funnel.
func (d *driver) stepName(i int) string {
	name, _ := d.cfg.Dedupe[i]["rule"].(string)
	return fmt.Sprintf("dedupe-%d-%s", i+1, name)
}

// runs is the folder of a step's runs and tasks.
func (d *driver) runs(i int) string { return d.dir(d.stepName(i) + "-runs") }

// dedupe runs one step of deduplication and the stage after it: one job finds what is repeated, another drops it. They get the groups from
// where the last stage left them ([driver.listGroups]), and the driver reads nothing of what the first job writes.
func (d *driver) dedupe(ctx context.Context, i int, sources []string) error {
	step, err := core.Decode(d.cfg.Dedupe[i])
	if err != nil {
		return err
	}
	name, dir := d.stepName(i), d.runs(i)
	plan := core.Plan{Settings: d.stepSettings(i), Dir: dir, Limits: d.cfg.DedupeLimits}
	var index []string
	if d.assumed == nil {
		if index, plan.Save, err = d.openIndex(ctx, i, step); err != nil {
			return err
		}
	}
	if plan.Index = len(index) > 0; plan.Index {
		if err := plan.WriteIndexList(index); err != nil {
			return err
		}
	}
	p, s := beam.NewPipelineWithRoot()
	dedupe.Tasks(s, plan, step, d.listGroups(s))
	if err := d.run(ctx, p, "adaptflow-"+name+"-find"); err != nil {
		return err
	}
	names := storage.Join(dir, "sources.json")
	if d.assumed == nil {
		if err := d.finishIndex(i, step); err != nil {
			return err
		}
		b, err := json.Marshal(sources)
		if err != nil {
			return err
		}
		if err := storage.WriteFile(names, b); err != nil {
			return err
		}
	}
	p, s = beam.NewPipelineWithRoot()
	left, totals := dedupe.Filter(s, &dedupe.FilterFn{Settings: plan.Settings, Language: d.cfg.Language, Removals: core.RemovalsPath(dir),
		Sources: names, Stage: name, OutDir: d.dir(name), RejectsDir: d.cfg.RejectsDir}, d.listGroups(s))
	stage.Total(s, stage.TotalsKind, d.total(name), totals)
	d.keepGroups(s, name, left)
	d.next(s, i, left)
	if err := d.run(ctx, p, "adaptflow-"+name); err != nil || d.assumed != nil {
		return err
	}
	if err := removeAll(storage.Join(dir, "*.run")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.countStage(name)
}
