package pipelines

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	core "github.com/adaptflow/adaptflow/train"
)

// Set is the score of one evaluation set.
type Set struct {
	Name  string
	Score *evaluate.Score
}

// Sets lists the scores that there are.
func (e *Eval) Sets() []Set {
	var out []Set
	for _, s := range []Set{{"domain", e.Domain}, {"general", e.General}} {
		if s.Score != nil {
			out = append(out, s)
		}
	}
	for _, s := range e.Sources {
		if s.Score != nil {
			out = append(out, Set{s.Name, s.Score})
		}
	}
	return out
}

// Translations are the sources whose completions were scored; of all held-out rows, where there are no named sources, one called "all".
func (e *Eval) Translations() (out []SourceScore) {
	for _, s := range e.Sources {
		if s.Translation != nil {
			out = append(out, s)
		}
	}
	if e.Translation != nil {
		out = append(out, SourceScore{Name: "all", Translation: e.Translation})
	}
	return out
}

// state reads the newest checkpoint of the run.
func (r *Run) state() (*core.State, error) {
	dir := filepath.Join(r.Output, "checkpoints")
	step, err := drive.Latest(dir)
	if err != nil {
		return nil, err
	}
	if step == 0 {
		return nil, fmt.Errorf("%s holds no checkpoint: train first (adaptflow train, with the same settings and --output)", r.product())
	}
	return core.ReadState(core.CheckpointDir(dir, step))
}

// Scores scores the base model, and the trained adapter where there is one (after is nil otherwise).
func (r *Run) Scores(ctx context.Context) (before, after *Eval, err error) {
	d, err := r.Prepare(ctx)
	if err != nil {
		return nil, nil, err
	}
	before, err = record(r, "before", func() (*Eval, error) { return r.Evaluate(ctx, d, nil, nn.NewParams(1)) })
	if err != nil {
		return nil, nil, err
	}
	if step, err := drive.Latest(filepath.Join(r.Output, "checkpoints")); step == 0 || err != nil {
		return before, nil, err
	}
	st, err := r.state()
	if err != nil {
		return nil, nil, err
	}
	a, params, err := r.Trained(st)
	if err != nil {
		return nil, nil, err
	}
	defer params.Free()
	after, err = r.Evaluate(ctx, d, []nn.Adapter{a}, params)
	return before, after, err
}
