package train

import (
	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// Judge computes the loss and the metrics of an objective on held-out sequences, without gradients.
type Judge struct {
	scorer    *Scorer
	objective Objective
}

// Judged is what a judge found: a loss as a sum over items, and sums of metrics in the order of [Judge.Metrics].
type Judged struct {
	Loss    float64  `json:"loss"`
	Items   int      `json:"items"`
	Metrics []Metric `json:"metrics,omitempty"`
}

// NewJudge compiles a program for up to tokens tokens at once. start, where not nil, is the adapter that the training began with, opened
// from its folder: an objective with a reference compares with it, and with the base alone else.
func NewJudge(m *model.Model, n NamedObjective, adapters []nn.Adapter, params *nn.Params, start *peft.Adapter, p *pool.Pool,
	tokens int) (_ *Judge, err error) {
	job := &Job{NamedObjective: n}
	j := &Judge{}
	if j.objective, err = job.OpenObjective(m, p); err != nil {
		return nil, err
	}
	g := newGoal(j.objective)
	if start != nil && g.spec.Reference {
		if g.ref, err = startOf(start, params); err != nil {
			CloseObjective(j.objective)
			return nil, err
		}
	}
	if j.scorer, err = newScorer(m, adapters, params, p, tokens, g); err != nil {
		CloseObjective(j.objective)
		return nil, err
	}
	return j, nil
}

// startOf is a reference with the values of an adapter's folder, in place of those that stand in params.
func startOf(a *peft.Adapter, params *nn.Params) (*reference, error) {
	first, err := a.NewParams(1)
	if err != nil {
		return nil, err
	}
	defer first.Free()
	if err := a.Load(first); err != nil {
		return nil, err
	}
	r := newReference(params, Sync{})
	for i, q := range r.trained {
		if x := first.Get(q.Name); x != nil {
			copy(r.copy[i], x.Data)
		}
	}
	return r, nil
}

// Metrics are the names of the objective's metrics.
func (j *Judge) Metrics() []string { return j.scorer.goal.spec.Metrics }

// Add judges sequences and adds what it finds to a sum.
func (j *Judge) Add(seqs []datasets.Sequence, sum *Judged) error {
	t, err := j.scorer.loss(seqs, 0)
	if err != nil {
		return err
	}
	sum.Add(&Judged{t.loss, t.items, t.metrics})
	return nil
}

// Add adds what was found of other sequences.
func (s *Judged) Add(o *Judged) {
	s.Loss, s.Items = s.Loss+o.Loss, s.Items+o.Items
	(*metrics)(&s.Metrics).add(o.Metrics)
}

// Close frees the program.
func (j *Judge) Close() {
	j.scorer.Close()
	CloseObjective(j.objective)
}
