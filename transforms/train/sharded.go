package train

import (
	"context"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	core "github.com/adaptflow/adaptflow/train"
)

func init() {
	beam.RegisterDoFn(&ScatterFn{})
	beam.RegisterDoFn(&ReduceFn{})
	beam.RegisterDoFn(&NormFn{})
	beam.RegisterDoFn(&ApplyFn{})
	beam.RegisterDoFn(&GatherFn{})
	beam.RegisterType(reflect.TypeFor[core.ShardSum]())
	beam.RegisterType(reflect.TypeFor[core.ShardStep]())
	register.Emitter2[int, core.ShardSum]()
	register.Emitter1[core.ShardStep]()
	register.Emitter2[int, core.ShardStep]()
	register.Iter1[core.ShardSum]()
	register.Iter1[core.ShardStep]()
}

// ScatterFn sends the reference to a replica's gradients to every shard of the optimiser's state, by the key round·Shards + shard.
type ScatterFn struct{ Shards int }

// ProcessElement emits the reference under the key of each shard.
func (f *ScatterFn) ProcessElement(_ context.Context, step int, ref core.Ref, emit func(int, core.Ref)) {
	for k := range f.Shards {
		emit(step*f.Shards+k, ref)
	}
}

// ReduceFn adds the replicas' gradients of a shard.
type ReduceFn struct {
	Job    string
	Shards int
}

// ProcessElement reduces the shard of a key of ScatterFn and emits the round and the sum.
func (f *ReduceFn) ProcessElement(ctx context.Context, key int, refs func(*core.Ref) bool, emit func(int, core.ShardSum)) error {
	step, all := key/f.Shards, collect(refs)
	sum, err := inSession(ctx, f.Job, func(s *core.Session) (core.ShardSum, error) { return s.Reduce(step, key%f.Shards, all) })
	if err == nil {
		emit(step, sum)
	}
	return err
}

// NormFn finds how much a round's gradients are clipped.
type NormFn struct{ Job string }

// ProcessElement emits what is to be done with each shard of the round that started at step.
func (f *NormFn) ProcessElement(ctx context.Context, step int, sums func(*core.ShardSum) bool, emit func(core.ShardStep)) error {
	all := collect(sums)
	out, err := inSession(ctx, f.Job, func(s *core.Session) ([]core.ShardStep, error) { return s.Norm(step, all) })
	for _, d := range out {
		emit(d)
	}
	return err
}

// ApplyFn takes the optimiser's step on a shard.
type ApplyFn struct{ Job string }

// ProcessElement steps a shard and emits the round and what was done.
func (f *ApplyFn) ProcessElement(ctx context.Context, d core.ShardStep, emit func(int, core.ShardStep)) error {
	d, err := inSession(ctx, f.Job, func(s *core.Session) (core.ShardStep, error) { return s.Apply(d) })
	if err == nil {
		emit(d.Step, d)
	}
	return err
}

// GatherFn ends a round when all its shards have stepped.
type GatherFn struct{ Job string }

// ProcessElement writes the state after the round that started at step and emits the step at which the next one starts.
func (f *GatherFn) ProcessElement(ctx context.Context, step int, done func(*core.ShardStep) bool, emit func(int)) error {
	all := collect(done)
	next, err := inSession(ctx, f.Job, func(s *core.Session) (int, error) { return s.Gather(step, all) })
	if err == nil {
		emit(next)
	}
	return err
}

func collect[T any](iter func(*T) bool) (all []T) {
	for {
		var x T
		if !iter(&x) {
			return all
		}
		all = append(all, x)
	}
}

// ShardedRound is Round with the optimiser's state in shards by parameter.
func ShardedRound(s beam.Scope, job string, replicas, shards int, from beam.PCollection) beam.PCollection {
	s = s.Scope("train.ShardedRound")
	refs := beam.ParDo(s, &ReplicaFn{Job: job}, beam.Reshuffle(s, beam.ParDo(s, &FanOutFn{Replicas: replicas}, from)))
	sums := beam.ParDo(s, &ReduceFn{Job: job, Shards: shards}, beam.GroupByKey(s, beam.ParDo(s, &ScatterFn{Shards: shards}, refs)))
	steps := beam.Reshuffle(s, beam.ParDo(s, &NormFn{Job: job}, beam.GroupByKey(s, sums)))
	return beam.ParDo(s, &GatherFn{Job: job}, beam.GroupByKey(s, beam.ParDo(s, &ApplyFn{Job: job}, steps)))
}
