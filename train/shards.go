package train

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/nn"
)

// ShardParams deals the parameters out to shards, so that each shard's optimiser state is about as large: the largest first, each to the
// shard that has least so far. It returns the names of each shard's parameters in the order of the list, and the bytes of its optimiser's
// state.
func ShardParams(args *Args, params *nn.Params, shards int) (names [][]string, bytes []int64) {
	names, bytes = make([][]string, shards), make([]int64, shards)
	type item struct {
		at   int
		name string
		size int64
	}
	var items []item
	r := optimizerByName(args.Optim)
	o, _ := r.options.with("optim_args", args.Optim, args.OptimArgs)
	for i, q := range params.List() {
		if q.Frozen {
			continue
		}
		n := int64(0)
		for _, s := range r.list(o, q) {
			n += 4 * int64(s.size) * int64(q.Slots)
		}
		items = append(items, item{i, q.Name, n})
	}
	order := slices.Clone(items)
	// Those without a state, as of plain SGD, are dealt out too.
	slices.SortStableFunc(order, func(a, b item) int { return cmp.Compare(b.size, a.size) })
	shard := map[string]int{}
	count := make([]int, shards)
	for _, it := range order {
		k := 0
		for j := range shards {
			if bytes[j] < bytes[k] || bytes[j] == bytes[k] && count[j] < count[k] {
				k = j
			}
		}
		shard[it.name] = k
		bytes[k] += it.size
		count[k]++
	}
	for _, it := range items {
		names[shard[it.name]] = append(names[shard[it.name]], it.name)
	}
	return names, bytes
}

// HeldOptimizerBytes is the memory of the optimiser's state in one worker: of the largest shard where it is sharded, else of the whole.
//
// With W parameters and a state of K values each (AdamW: 2), N workers hold 4·W bytes of parameters, 4·W of gradients and 4·K·W of state
// each; sharded N ways (ZeRO-1, Rajbhandari et al. 2020, arXiv:1910.02054) the last is 4·K·W/N, up to the size of one parameter.
func HeldOptimizerBytes(args *Args, params *nn.Params) int64 {
	if args.OptimizerShards <= 1 {
		return OptimizerBytes(args, params)
	}
	_, bytes := ShardParams(args, params, args.OptimizerShards)
	return slices.Max(bytes)
}

// shard returns the parameters of a shard.
func (s *Session) shard(k int) ([]*nn.Param, error) {
	names, _ := ShardParams(&s.job.Args, s.params, s.job.Args.OptimizerShards)
	if k < 0 || k >= len(names) {
		return nil, fmt.Errorf("shard %d of %d does not exist", k, len(names))
	}
	var out []*nn.Param
	for _, n := range names[k] {
		out = append(out, s.params.Get(n))
	}
	return out, nil
}

// parts are the groups of parameters whose updates are files of their own: the shards, or all.
func (s *Session) parts() ([][]*nn.Param, error) {
	if !s.job.sharded() {
		return [][]*nn.Param{s.trained()}, nil
	}
	var out [][]*nn.Param
	for k := range s.job.Args.OptimizerShards {
		list, err := s.shard(k)
		if err != nil {
			return nil, err
		}
		out = append(out, list)
	}
	return out, nil
}

func (j *Job) sharded() bool { return j.rounds() && j.Args.OptimizerShards > 1 }
