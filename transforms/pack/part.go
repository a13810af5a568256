package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"golang.org/x/sync/errgroup"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/parts"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/partition"
)

func init() {
	beam.RegisterDoFn(&partFn{})
	register.Emitter1[parts.Slice]()
	register.Iter1[parts.Slice]()
}

// packing bounds the shards of a process whose documents are held as tokens, to as many as there are processors.
var packing = make(chan struct{}, runtime.GOMAXPROCS(0))

// partFn packs the shards of a range of places into Parquet files.
type partFn struct {
	Fn ShardFn

	work bundle.Workers[[]*packed]
}

// StartBundle begins with no range.
func (f *partFn) StartBundle(context.Context, func(string)) { f.work.Start() }

// ProcessElement begins to pack the shards of one range, all of whose documents the work holds as bytes.
func (f *partFn) ProcessElement(ctx context.Context, _ int64, in func(*parts.Slice) bool, _ func(string)) error {
	var all []parts.Slice
	for s := (parts.Slice{}); in(&s); s = (parts.Slice{}) {
		all = append(all, s)
	}
	return f.work.Go(ctx, func() ([]*packed, error) { return packPart(ctx, &f.Fn, f.Fn.Plan.bits(), f.Fn.sort, all) })
}

// FinishBundle emits the paths of the shards' descriptions.
func (f *partFn) FinishBundle(ctx context.Context, emit func(string)) error {
	return f.work.Emit(func(shards []*packed) {
		for _, p := range shards {
			f.Fn.count(ctx, p)
			emit(p.path)
		}
	})
}

// packPart packs the shards of a range, which follow one another in it; places are by so many bits, and sort puts the documents of a shard
// in their order.
func packPart(ctx context.Context, f *ShardFn, bits int, sort func([]datasets.StagedDoc), all []parts.Slice) (out []*packed, err error) {
	slices.SortFunc(all, func(a, b parts.Slice) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Off, b.Off)) })
	bytes := int64(0)
	for i, s := range all {
		if i > 0 && s.Path == all[i-1].Path && s.Off == all[i-1].Off {
			return nil, fmt.Errorf("the documents at %d of %s came twice", s.Off, s.Path)
		}
		bytes += s.Bytes
	}
	release, err := partition.Hold(ctx, bytes)
	if err != nil {
		return nil, err
	}
	defer release()
	lists, err := parts.ReadAll(all)
	if err != nil {
		return nil, err
	}
	var packs errgroup.Group
	shard, docs := -1, []datasets.StagedDoc(nil) // what is being decoded, for which a place of packing is held
	begin := func() {
		if shard < 0 {
			return
		}
		shard, docs, p := shard, docs, &packed{}
		out = append(out, p)
		packs.Go(func() error {
			defer func() { <-packing }()
			sort(docs)
			done, err := f.write(shard, docs)
			if err == nil {
				*p = *done
			}
			return err
		})
	}
	for place, b := range parts.Merge(lists...) {
		if at := shardBy(bits, f.Plan.shards(), place); at != shard {
			begin()
			select {
			case packing <- struct{}{}:
			case <-ctx.Done():
				return nil, errors.Join(ctx.Err(), packs.Wait())
			}
			shard, docs = at, nil
		}
		if f.FileOrder {
			b = b[orderBytes:]
		}
		d, err := datasets.DecodeDoc(b)
		if err != nil {
			<-packing
			return nil, errors.Join(fmt.Errorf("shard %d: %w", shard, err), packs.Wait())
		}
		docs = append(docs, d)
	}
	begin()
	return out, packs.Wait()
}
