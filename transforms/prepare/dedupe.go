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

// maxRounds bounds label propagation, which takes O(log² n) rounds.
const maxRounds = 1000

// dedupe runs one step of deduplication and the stage after it.
func (d *driver) dedupe(ctx context.Context, i int, sources []string) error {
	step, err := core.Decode(d.cfg.Dedupe[i])
	if err != nil {
		return err
	}
	name, dir := d.stepName(i), d.runs(i)
	plan := core.Plan{Settings: d.stepSettings(i), Dir: dir, Parts: core.PartsFor(d.res.Kept)}
	groups, err := stage.ReadKept(d.list(d.kept))
	if err != nil {
		return err
	}
	for _, text := range groups {
		g, err := groupOf(text)
		if err != nil {
			return err
		}
		plan.Runs = append(plan.Runs, dedupe.RunPath(dir, g.Name))
	}
	if plan.Index, plan.Save, err = d.openIndex(ctx, i, step); err != nil {
		return err
	}
	ranges, err := plan.Ranges(step)
	if err != nil {
		return err
	}
	_, _, clusters := step.Layout()
	job := func(what string, phases []string, round int) error {
		p, s := beam.NewPipelineWithRoot()
		var fns []*dedupe.TaskFn
		var tasks []int
		for _, ph := range phases {
			fns = append(fns, &dedupe.TaskFn{Plan: plan, Ranges: ranges, Phase: ph, Round: round})
			n := plan.Parts
			if ph == dedupe.PhaseMerge {
				n = len(ranges)
			}
			tasks = append(tasks, n)
		}
		dedupe.Tasks(s, fns, tasks)
		return d.run(ctx, p, "adaptflow-"+name+"-"+what)
	}
	results := func(phase string, round, n int) (removals []string, fp core.Fingerprint, err error) {
		for k := range n {
			var r dedupe.Result
			if err := readJSON(dedupe.ResultPath(dir, phase, round, k), &r); err != nil {
				return nil, fp, err
			}
			if r.Removals != "" {
				removals = append(removals, r.Removals)
			}
			fp.Count += r.Fingerprint.Count
			fp.Sum += r.Fingerprint.Sum
		}
		return removals, fp, nil
	}
	if err := job("merge", []string{dedupe.PhaseMerge}, 0); err != nil {
		return err
	}
	last, n, round := dedupe.PhaseMerge, len(ranges), 0
	if clusters {
		var before core.Fingerprint
		for ; ; round++ {
			if round == maxRounds {
				return fmt.Errorf("%s: label propagation did not end in %d rounds", name, maxRounds)
			}
			if err := job(fmt.Sprintf("round-%d", round), []string{dedupe.PhaseLarge, dedupe.PhaseSmall}, round); err != nil {
				return err
			}
			_, fp, err := results(dedupe.PhaseLarge, round, plan.Parts)
			if err != nil {
				return err
			}
			if round > 0 && fp == before || fp.Count == 0 {
				break
			}
			before = fp
		}
		if err := job("roots", []string{dedupe.PhaseJoin, dedupe.PhaseRoots}, round); err != nil {
			return err
		}
		last, n = dedupe.PhaseRoots, plan.Parts
	}
	removals, _, err := results(last, map[bool]int{true: round}[clusters], n)
	if err != nil {
		return err
	}
	if err := d.finishIndex(i, step); err != nil {
		return err
	}
	names := storage.Join(dir, "sources.json")
	b, err := json.Marshal(sources)
	if err != nil {
		return err
	}
	if err := storage.WriteFile(names, b); err != nil {
		return err
	}
	p, s := beam.NewPipelineWithRoot()
	left, totals := dedupe.Filter(s, &dedupe.FilterFn{Settings: plan.Settings, Language: d.cfg.Language, Removals: removals, Sources: names,
		Stage: name, OutDir: d.dir(name),
		RejectsDir: d.cfg.RejectsDir}, d.listGroups(s))
	stage.Total(s, stage.TotalsKind, d.total(name), totals)
	d.keepGroups(s, name, left)
	d.next(s, i, left)
	if err := d.run(ctx, p, "adaptflow-"+name); err != nil {
		return err
	}
	if err := removeAll(storage.Join(dir, "*.run")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.countStage(name)
}
