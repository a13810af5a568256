package train

import (
	"errors"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// reference is a copy of an adapter with which an objective compares the one that learns: of a training that goes on from an adapter, or
// whose reference follows it.
type reference struct {
	trained []*nn.Param
	copy    [][]float32 // of each of them
	Sync
}

// Sync says how a reference follows the adapter that learns: every so many optimiser steps it becomes Mix times the adapter's values and
// (1-Mix) times its own (TR-DPO: Gorbatovski et al. 2024, arXiv:2404.09656). Zero steps for a reference that stays.
type Sync struct {
	Every int
	Mix   float64
}

// newReference copies the trained parameters as they stand.
func newReference(params *nn.Params, s Sync) *reference {
	r := &reference{Sync: s}
	for _, q := range params.List() {
		if !q.Frozen {
			r.trained, r.copy = append(r.trained, q), append(r.copy, slices.Clone(q.Data))
		}
	}
	return r
}

// restart copies the parameters anew, which stand at the beginning of the training.
func (r *reference) restart() {
	if r == nil {
		return
	}
	for i, q := range r.trained {
		copy(r.copy[i], q.Data)
	}
}

// swap exchanges the parameters with the copy, and gives what exchanges them again.
func (r *reference) swap() func() {
	do := func() {
		for i, q := range r.trained {
			c := r.copy[i]
			for k, v := range q.Data {
				q.Data[k], c[k] = c[k], v
			}
		}
	}
	do()
	return do
}

// follow brings the reference up to date after the optimiser step of a number, which is counted from 1.
func (r *reference) follow(step int) {
	if r == nil || r.Every == 0 || step%r.Every != 0 {
		return
	}
	a, b := float32(r.Mix), float32(1-r.Mix)
	for i, q := range r.trained {
		c := r.copy[i]
		for k, v := range q.Data {
			c[k] = float32(a*v) + float32(b*c[k])
		}
	}
}

// state calls f for each array of a reference that follows, to be saved and loaded with the optimiser's.
func (r *reference) state(f func(name string, x []float32)) {
	if r == nil || r.Every == 0 {
		return
	}
	for i, q := range r.trained {
		f(q.Name+"/reference", r.copy[i])
	}
}

// keepReference makes the copy that the objective compares with: of the adapter that training starts from, or of one that follows. Else the
// reference is the base with the adapter off, which costs nothing.
func (s *Session) keepReference() error {
	spec := s.trainer.goal.spec
	if !spec.Reference || s.job.InitAdapter == "" && spec.Sync.Every == 0 {
		return nil
	}
	if spec.Sync.Every > 0 && s.job.rounds() {
		return errors.New("sync_ref_model: the reference follows a training of one replica alone: set replicas to 1")
	}
	if err := s.initial(); err != nil {
		return err
	}
	s.trainer.goal.ref = newReference(s.params, spec.Sync)
	return nil
}

// ReferenceBytes is what the copy takes that an objective compares with, of a training that begins with an adapter or with new values; 0
// where it compares with the base, or with nothing.
func ReferenceBytes(o Objective, initAdapter string, params *nn.Params) int64 {
	if s := newGoal(o).spec; s.Reference && (initAdapter != "" || s.Sync.Every > 0) {
		return 4 * int64(params.Count())
	}
	return 0
}

// Documents is how many documents a pass of an objective has room for: at least one example.
func Documents(o Objective, a nn.Adapter, tokens, batch int) int {
	return max(nn.PromptOf([]nn.Adapter{a}).Documents(tokens, batch), newGoal(o).spec.Group)
}
