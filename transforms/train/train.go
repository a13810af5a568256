// Package train has the transforms of training: rounds over references. A DoFn receives the job (settings and references to the base,
// the shards and the state) and a step, works on files, and emits the step that its files stand for; no tensor travels through the
// pipeline. A retried bundle starts from the same files and writes the same bytes.
//
// [Adapter] and [PerKey] are for programs with collections of their own: they train in one DoFn, without a driver.
package train

import (
	"context"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	core "github.com/adaptflow/adaptflow/train"
)

func init() {
	beam.RegisterDoFn(&SegmentFn{})
	beam.RegisterDoFn(&FanOutFn{})
	beam.RegisterDoFn(&ReplicaFn{})
	beam.RegisterDoFn(&CombineFn{})
	beam.RegisterDoFn(&CheckpointFn{})
	beam.RegisterType(reflect.TypeFor[Share]())
	beam.RegisterType(reflect.TypeFor[core.Ref]())
	register.Emitter1[int]()
	register.Emitter1[Share]()
	register.Emitter2[int, core.Ref]()
	register.Iter1[core.Ref]()
}

// SegmentFn runs plain training, one replica, from the step it is given up to the step To.
type SegmentFn struct {
	Job string // core.Job as JSON
	To  int
}

// ProcessElement trains from step and returns the step of the checkpoint it wrote.
func (f *SegmentFn) ProcessElement(ctx context.Context, step int) (int, error) {
	return inSession(ctx, f.Job, func(s *core.Session) (int, error) { return s.Advance(step, f.To) })
}

// Share is one replica's part of a round.
type Share struct{ Step, Replica int }

// FanOutFn emits one Share for each replica of a round.
type FanOutFn struct{ Replicas int }

// ProcessElement emits the shares of the round that starts at step.
func (f *FanOutFn) ProcessElement(_ context.Context, step int, emit func(Share)) error {
	for r := range f.Replicas {
		emit(Share{step, r})
	}
	return nil
}

// ReplicaFn runs a replica's part of a round and emits the round and the reference to what it wrote.
type ReplicaFn struct{ Job string }

// ProcessElement runs one share.
func (f *ReplicaFn) ProcessElement(ctx context.Context, sh Share, emit func(int, core.Ref)) error {
	ref, err := inSession(ctx, f.Job, func(s *core.Session) (core.Ref, error) { return s.Replica(sh.Step, sh.Replica) })
	if err == nil {
		emit(sh.Step, ref)
	}
	return err
}

// inSession runs f with the process's session of a job. What f returns is emitted after it: emitting may run the next DoFn, which uses the
// session too.
func inSession[T any](ctx context.Context, job string, f func(*core.Session) (T, error)) (out T, err error) {
	err = core.Use(job, func(s *core.Session) (err error) {
		defer count(ctx, s)()
		out, err = f(s)
		return err
	})
	return out, err
}

// CombineFn ends a round when all its replicas have written or given up: it adds their files in replica order, whatever the order of
// arrival.
type CombineFn struct{ Job string }

// ProcessElement combines the round that started at step and emits the step at which the next one starts.
func (f *CombineFn) ProcessElement(ctx context.Context, step int, refs func(*core.Ref) bool, emit func(int)) error {
	all := collect(refs)
	next, err := inSession(ctx, f.Job, func(s *core.Session) (int, error) { return s.Combine(step, all) })
	if err == nil {
		emit(next)
	}
	return err
}

// CheckpointFn writes the state after a round as a checkpoint.
type CheckpointFn struct{ Job string }

// ProcessElement writes the checkpoint of step.
func (f *CheckpointFn) ProcessElement(ctx context.Context, step int) (int, error) {
	return inSession(ctx, f.Job, func(s *core.Session) (int, error) { return step, s.Checkpoint(step) })
}

// Segment trains with one replica from the step in from to the step to, and returns the step that was reached.
func Segment(s beam.Scope, job string, from beam.PCollection, to int) beam.PCollection {
	s = s.Scope("train.Segment")
	return beam.ParDo(s, &SegmentFn{Job: job, To: to}, from)
}

// Round trains one round with several replicas from the step in from, and returns the step at which the next starts.
func Round(s beam.Scope, job string, replicas int, from beam.PCollection) beam.PCollection {
	s = s.Scope("train.Round")
	shares := beam.Reshuffle(s, beam.ParDo(s, &FanOutFn{Replicas: replicas}, from))
	refs := beam.ParDo(s, &ReplicaFn{Job: job}, shares)
	return beam.ParDo(s, &CombineFn{Job: job}, beam.GroupByKey(s, refs))
}

// Checkpoint writes the state at the step in at as a checkpoint.
func Checkpoint(s beam.Scope, job string, at beam.PCollection) beam.PCollection {
	s = s.Scope("train.Checkpoint")
	return beam.ParDo(s, &CheckpointFn{Job: job}, at)
}
