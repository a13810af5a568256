package run

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// guardRecord names what the guard of forgetting decided.
const guardRecord = "forgetting"

// Guarded is what the guard of forgetting decided: the checkpoint that becomes the adapter.
type Guarded struct {
	Step    int     `json:"step"`
	Last    int     `json:"last"`    // the step that it would be without a guard
	Base    float64 `json:"base"`    // the base's perplexity of general text
	General float64 `json:"general"` // the checkpoint's
	Limit   float64 `json:"limit"`   // the highest that evaluate.max_general_rise allows
	Held    bool    `json:"held"`    // General is within Limit
}

// String says which checkpoint it is, and why.
func (g *Guarded) String() string {
	switch {
	case !g.Held:
		return fmt.Sprintf("exceeded: general perplexity %.2f at step %d, at most %.2f is allowed", g.General, g.Step, g.Limit)
	case g.Step < g.Last:
		return fmt.Sprintf("went back from step %d to step %d: general perplexity %.2f, at most %.2f is allowed", g.Last, g.Step, g.General,
			g.Limit)
	}
	return fmt.Sprintf("held: general perplexity %.2f, at most %.2f is allowed", g.General, g.Limit)
}

// guard holds the adapter to evaluate.max_general_rise: where general text has become too perplexing at the point that training gave, the
// run goes back to the latest checkpoint that is kept and holds the limit. Where none does, the point stays, and the run ends with an
// error.
func (r *Run) guard(ctx context.Context, d *Data, st *train.State, before *measure.Results) (*Guarded, error) {
	most := r.Recipe.Evaluate.MaxGeneralRise
	if most == 0 {
		return nil, nil
	}
	if before.General == nil {
		return nil, fmt.Errorf("evaluate.max_general_rise is %g, and general text was not scored: general_input needs text with a loss",
			most)
	}
	return Record(r, guardRecord, func() (*Guarded, error) {
		last := r.PointOf(st).Step
		kept, err := r.progress().Checkpoints()
		if err != nil {
			return nil, err
		}
		g := &Guarded{Last: last, Base: before.General.Perplexity, Limit: before.General.Perplexity * (1 + most)}
		for _, step := range stepsBack(last, kept) {
			found, err := r.Evaluate(ctx, d, train.Point{Step: step})
			if err != nil {
				return nil, err
			}
			p := math.Inf(1)
			if found.General != nil {
				p = found.General.Perplexity
			}
			r.Tell("step %d: general perplexity %.2f, at most %.2f is allowed (evaluate.max_general_rise)", step, p, g.Limit)
			if step == last && !math.IsInf(p, 0) && !math.IsNaN(p) {
				g.Step, g.General = step, p
			}
			if p <= g.Limit {
				g.Step, g.General, g.Held = step, p, true
				break
			}
		}
		if g.Step == 0 {
			return nil, fmt.Errorf("general text has no finite perplexity at step %d: lower learning_rate or raise warmup_steps", last)
		}
		return g, nil
	})
}

// stepsBack are the steps that are tried: the last, and kept ones before it, the latest first.
func stepsBack(last int, kept []int) []int {
	out := []int{last}
	for _, step := range slices.Backward(slices.Sorted(slices.Values(kept))) {
		if step > 0 && step < last {
			out = append(out, step)
		}
	}
	return out
}

// guarded is what an earlier call decided, nil where there was none.
func (r *Run) guarded() *Guarded {
	if r.Recipe.Evaluate.MaxGeneralRise == 0 {
		return nil
	}
	raw, err := storage.ReadSmall(r.RecordPath(guardRecord), storage.KindState)
	var g Guarded
	if err != nil || json.Unmarshal(raw, &g) != nil || g.Step == 0 {
		return nil
	}
	return &g
}

// ForgottenError is the error of a run that is finished, and forgot more than evaluate.max_general_rise allows at every checkpoint it kept.
type ForgottenError struct{ Guarded }

// Error says how much was forgotten, and what to do.
func (e *ForgottenError) Error() string {
	return fmt.Sprintf("general text rose from perplexity %.2f to %.2f at step %d, and evaluate.max_general_rise allows %.2f; no earlier "+
		"checkpoint that was kept holds it: lower learning_rate or max_steps, mix general text into the input, or keep more checkpoints "+
		"(save_steps, save_total_limit)", e.Base, e.General, e.Step, e.Limit)
}

// Is makes the command end as with other runs that are finished and not as they should be.
func (e *ForgottenError) Is(target error) bool { return target == prepare.ErrTooManyBad }

// Forgot is a [ForgottenError] where the guard found no checkpoint that holds the limit.
func (r *Run) Forgot() error {
	if g := r.guarded(); g != nil && !g.Held {
		return &ForgottenError{*g}
	}
	return nil
}
