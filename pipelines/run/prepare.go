package run

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// PrepareSet prepares one set of input: files, or named sources.
func (r *Run) PrepareSet(ctx context.Context, name string, inputs []string, sources []recipe.Source,
	validation float64) (*prepare.Result, error) {
	prep := func() (*prepare.Result, error) {
		cfg := r.Reading(name)
		var err error
		if cfg.Inputs, err = assets.ResolveAll(inputs); err != nil {
			return nil, err
		}
		cfg.Sources, cfg.Mix, cfg.Prepare, cfg.Shares = sources, r.Recipe.Data.Mix, r.Recipe.Prepare, r.Recipe.Data.Shares
		cfg.OutDir, cfg.RejectsDir = r.Product("shards"), r.Product(RejectsDir)
		if name != "train" { // what is measured on stays as it is
			cfg.OutDir, cfg.RejectsDir = r.Product("eval", name), r.Product("eval", name, "rejects")
			cfg.Mix.Temperature, cfg.Clean, cfg.Dedupe = 0, nil, nil
		}
		if name == "general" {
			cfg.ApplyChatTemplate = false
		}
		if cfg.TokenizerDir, err = r.Shared(ctx, r.tokenizerDir()); err != nil {
			return nil, err
		}
		if r.apart() {
			cfg.Shared = r.sharedFile
		}
		cfg.Engine, cfg.Before = tokenize.Engine(r.Recipe.Model.TokenizerEngine), r.before
		cfg.Seed, cfg.ValidationFraction = r.Recipe.Train.Seed, validation
		cfg.StagedDir, cfg.PrintsPath, cfg.Version = r.WorkPath(".staged-"+name), r.printsPath(name), version.Version
		defer r.during("preparing " + setNames[name])()
		res, err := prepare.Execute(ctx, cfg, func(ctx context.Context, p *beam.Pipeline,
			job string) error {
			runner := r.Runner
			runner.Part = name
			return runner.Run(ctx, p, job)
		})
		if _, there := os.Stat(cfg.PrintsPath); there == nil && err == nil {
			err = r.Keep(cfg.PrintsPath)
		}
		if res != nil {
			for _, l := range res.Layouts {
				r.Tell("%s", l)
			}
			if n := res.Read - res.Kept; n > 0 && name != "train" { // those of train are in the table
				r.Tell("%s: %d of %d records rejected (%s); see %s", setNames[name], n, res.Read,
					prepare.Reasons(res.Rejected), cfg.RejectsDir)
			}
			for _, h := range prepare.HeavyRules(res.Funnel) {
				r.Tell("warning: %s: %s", setNames[name], h)
			}
			r.sayTally(name, inputs, res)
		}
		// the run goes on without what it would measure
		if silent := (*prepare.SilentError)(nil); errors.As(err, &silent) && name != "train" {
			r.Tell("warning: %s: nothing can be measured: %v", setNames[name], err)
			return silent.Result, nil
		}
		if errors.Is(err, prepare.ErrTooManyBad) {
			return res, nil // the run goes on and ends with exit code 3: see Bad
		}
		if err != nil {
			return res, err
		}
		return res, r.forgetIn(name, res)
	}
	if err := r.again(name, prep); err != nil {
		return nil, err
	}
	res, err := Record(r, "prepare-"+name, prep)
	if err != nil {
		return nil, err
	}
	return res, r.forgetIn(name, res)
}

// namedSources are the named sources of a recipe with the files that references stand for, and their held-out texts, which are neither
// weighed nor capped.
func namedSources(d *recipe.Data) (train, held []recipe.Source, err error) {
	named, err := d.Named()
	if err != nil {
		return nil, nil, err
	}
	for _, s := range named {
		h := s
		h.MixSource = datasets.MixSource{Name: s.Name}
		if h.Input, err = assets.ResolveAll(s.EvalInput); err != nil {
			return nil, nil, err
		}
		if len(h.Input) > 0 {
			held = append(held, h)
		}
		if s.Input, err = assets.ResolveAll(s.Input); err != nil {
			return nil, nil, err
		}
		train = append(train, s)
	}
	return train, held, nil
}

// Prepare turns the recipe's input into shards: training, held-out and general text.
func (r *Run) Prepare(ctx context.Context) (*Data, error) {
	d := r.Recipe.Data
	fraction := d.ValidationFraction
	if d.Held() && !r.HoldOut {
		fraction = 0
	}
	train, held, err := namedSources(&d)
	if err != nil {
		return nil, err
	}
	if len(d.Input)+len(train) == 0 {
		return nil, errors.New("the recipe names no input: --set input=FILE")
	}
	what := slices.Clone(d.Input)
	for _, s := range train {
		what = append(what, s.Name)
	}
	r.Tell("preparing %s", strings.Join(what, ", "))
	if err := r.checkInputs(ctx, train, held); err != nil {
		return nil, err
	}
	out := &Data{}
	if out.Train, err = r.PrepareSet(ctx, "train", d.Input, train, fraction); err != nil {
		return nil, err
	}
	if err := r.openHead(out.Train); err != nil {
		return nil, err
	}
	out.Domain = out.Train.Validation
	out.Origins = out.Train.Origins
	if d.Held() {
		if out.domain, err = r.PrepareSet(ctx, "domain", d.EvalInput, held, 0); err != nil {
			return nil, err
		}
		out.Domain, out.Origins = out.domain.Train, out.domain.Origins
	}
	if len(d.GeneralInput) > 0 {
		if out.general, err = r.PrepareSet(ctx, "general", d.GeneralInput, nil, 0); err != nil {
			return nil, err
		}
		out.General = out.general.Train
	}
	return out, r.compareSets(out)
}

// Bad is an error that wraps prepare.ErrTooManyBad when more of the records read were rejected than the recipe allows.
// What cleaning and deduplication take out is not counted.
func (r *Run) Bad(funnel []prepare.Stage) error {
	if len(funnel) == 0 {
		return nil
	}
	read, bad := funnel[0].In, prepare.Bad(funnel)
	allowed := r.Recipe.Data.MaxBadFraction
	if float64(bad) <= allowed*float64(read) {
		return nil
	}
	return &prepare.TooManyBadError{Bad: bad, Read: read, Max: allowed, Rejected: funnel[0].Rejected, Dir: r.Product(RejectsDir)}
}
