package train

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// A sync round whose optimiser state is sharded by parameter (ZeRO-1/2's idea, Rajbhandari et al. 2020): a worker holds the state of one
// shard at a time. Of a round
//
//	Replica writes its gradient sums, a file a shard;
//	Reduce, a shard: adds those of all replicas (reduce-scatter: only this shard's files are read);
//	Norm: the gradient's norm over all shards, in the order of the parameters, and so how much is clipped;
//	Apply, a shard: the optimiser's step on the shard's parameters;
//	Gather: the state that the next round starts from, which refers to the shards' files (all-gather).
//
// Every sum runs in the order of the round that is not sharded, so that the bytes are the same.

// ShardSum is the sum of a shard's gradients over the replicas.
type ShardSum struct {
	Shard   int       `json:"shard"`
	Sum     FileRef   `json:"sum"`
	Squares []float64 `json:"squares"` // of each parameter's gradient
	Loss    float64   `json:"loss"`
	Items   int       `json:"items"`
	Tokens  int       `json:"tokens"`
	Metrics []Metric  `json:"metrics,omitempty"` // the objective's
	Refs    []Ref     `json:"refs"`              // of the replicas that contributed
}

// ShardStep is what Apply does with a shard, and after it, where State refers to a file, what it did.
type ShardStep struct {
	Shard int      `json:"shard"`
	Step  int      `json:"step"` // at which the round started
	Sum   FileRef  `json:"sum"`
	Scale float32  `json:"scale"` // of the gradients, by clipping
	Info  StepInfo `json:"info"`
	State FileRef  `json:"state"` // the shard's parameters and optimiser after the step
	Refs  []Ref    `json:"refs"`
}

// Reduce adds what the replicas sent of a shard, in replica order.
func (s *Session) Reduce(step, shard int, refs []Ref) (ShardSum, error) {
	if err := s.atRound(step); err != nil {
		return ShardSum{}, err
	}
	refs, err := s.decide(step, refs)
	if err != nil {
		return ShardSum{}, err
	}
	list, err := s.shard(shard)
	if err != nil {
		return ShardSum{}, err
	}
	for _, q := range list {
		clear(q.Grad)
	}
	whole, err := s.sum(refs, shard, list)
	if err != nil {
		return ShardSum{}, err
	}
	out := ShardSum{Shard: shard, Loss: whole.loss, Items: whole.items, Tokens: whole.tokens, Metrics: whole.metrics, Refs: refs}
	var ts []safetensors.Tensor
	for _, q := range list {
		ts = append(ts, safetensors.F32(q.Name, q.Grad, len(q.Grad)))
		sq := kernels.SumSquares(q.Grad)
		if math.IsNaN(sq) || math.IsInf(sq, 0) {
			return ShardSum{}, s.lastGood(step, fmt.Errorf("step %d: the gradient of %s is not finite: lower learning_rate",
				step+1, q.Name))
		}
		out.Squares = append(out.Squares, sq)
	}
	path := filepath.Join(roundPath(step), fmt.Sprintf("sum-%03d.safetensors", shard))
	if err := safetensors.WriteUnsynced(filepath.Join(s.job.Dir, path), ts, nil); err != nil {
		return ShardSum{}, err
	}
	out.Sum, err = s.refer(path)
	return out, err
}

// Norm finds how much the gradients are clipped, from the sums of all shards, and returns what is to be done with each.
func (s *Session) Norm(step int, sums []ShardSum) ([]ShardStep, error) {
	if err := s.atRound(step); err != nil {
		return nil, err
	}
	parts, err := s.parts()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(sums, func(a, b ShardSum) int { return cmp.Compare(a.Shard, b.Shard) })
	squares := map[string]float64{}
	for k, p := range parts {
		if k >= len(sums) || sums[k].Shard != k || len(sums[k].Squares) != len(p) || len(sums) != len(parts) {
			return nil, fmt.Errorf("round %d: %d sums of shards, want one of each of %d", step, len(sums), len(parts))
		}
		for i, q := range p {
			squares[q.Name] = sums[k].Squares[i]
		}
	}
	total := 0.0
	for _, q := range s.params.List() {
		total += squares[q.Name]
	}
	whole := sums[0]
	info := s.trainer.info(tally{loss: whole.Loss, items: whole.Items, tokens: whole.Tokens, metrics: whole.Metrics})
	info.GradNorm = math.Sqrt(total)
	scale := float32(1)
	if c, clips := clipScale(s.job.Args.MaxGradNorm, info.GradNorm); clips {
		scale = c
	}
	var out []ShardStep
	for k, sum := range sums {
		out = append(out, ShardStep{Shard: k, Step: step, Sum: sum.Sum, Scale: scale, Info: info, Refs: whole.Refs})
	}
	return out, nil
}

// Apply takes the optimiser's step on a shard. The parameters in memory stay at the round's start.
func (s *Session) Apply(d ShardStep) (ShardStep, error) {
	if err := s.atRound(d.Step); err != nil {
		return d, err
	}
	list, err := s.shard(d.Shard)
	if err != nil {
		return d, err
	}
	f, err := s.open(d.Sum)
	if err != nil {
		return d, err
	}
	defer f.Close()
	owned := map[string]bool{}
	for _, q := range list {
		owned[q.Name] = true
		if err := fill(f, q.Name, q.Grad); err != nil {
			return d, err
		}
		if d.Scale != 1 {
			kernels.Scale(nil, d.Scale, q.Grad)
		}
		was := slices.Clone(q.Data)
		defer copy(q.Data, was)
	}
	opt := newOptimizer(&s.job.Args, s.params, s.trainer.pairs, owned)
	defer opt.Close()
	if err := s.shardState(d.Step, d.Shard, opt); err != nil {
		return d, err
	}
	opt.Step = d.Step
	stop := computing()
	opt.Apply(s.pool, d.Info.LearningRate)
	stop()
	var ts []safetensors.Tensor
	for _, q := range list {
		ts = append(ts, safetensors.F32("param/"+q.Name, q.Data, q.Slots, q.Rows, q.Cols))
	}
	opt.Each(func(name string, x []float32) { ts = append(ts, safetensors.F32("optimizer/"+name, x, len(x))) })
	path := filepath.Join(roundPath(d.Step+1), shardName(d.Shard))
	if err := safetensors.WriteUnsynced(filepath.Join(s.job.Dir, path), ts, nil); err != nil {
		return d, err
	}
	d.State, err = s.refer(path)
	return d, err
}

// shardState reads a shard's optimiser state at a step: of the round's files, of a checkpoint, or none yet.
func (s *Session) shardState(step, shard int, opt *Optimizer) error {
	if step == 0 {
		return nil
	}
	var f *safetensors.File
	var err error
	prefix := "optimizer/"
	if s.state.Shards != nil {
		f, err = s.open(s.state.Shards[shard])
	} else {
		prefix = ""
		f, err = safetensors.Open(filepath.Join(CheckpointDir(s.job.Dir, step), optimizerFile))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	opt.Each(func(name string, x []float32) {
		if err == nil {
			err = fill(f, prefix+name, x)
		}
	})
	return err
}

// Gather ends a sharded round when all shards have stepped. It returns the step at which the next one starts.
func (s *Session) Gather(step int, done []ShardStep) (int, error) {
	if err := s.atRound(step); err != nil {
		return 0, err
	}
	slices.SortFunc(done, func(a, b ShardStep) int { return cmp.Compare(a.Shard, b.Shard) })
	shards := make([]FileRef, s.job.Args.OptimizerShards)
	for k := range shards {
		if k >= len(done) || done[k].Shard != k || done[k].State.Path == "" || len(done) != len(shards) {
			return 0, fmt.Errorf("round %d: %d shards have stepped, want each of %d", step, len(done), len(shards))
		}
		shards[k] = done[k].State
	}
	s.at = -1 // until the state is written
	s.state.Shards = shards
	if err := s.loadShards(); err != nil {
		return 0, err
	}
	s.trainer.opt.Step = step + 1
	if err := s.end(done[0].Info, done[0].Refs); err != nil {
		return 0, err
	}
	return s.at, s.forget(step)
}

// loadShards reads the parameters that the shards of the state hold.
func (s *Session) loadShards() error {
	for k, ref := range s.state.Shards {
		list, err := s.shard(k)
		if err != nil {
			return err
		}
		f, err := s.open(ref)
		if err != nil {
			return err
		}
		for _, q := range list {
			if err == nil {
				err = fill(f, "param/"+q.Name, q.Data)
			}
		}
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// shardTensors are the optimiser's arrays of all shards under the names of one that is not sharded, each read when it is written.
func (s *Session) shardTensors() (ts []safetensors.Tensor, closeAll func(), err error) {
	var files []*safetensors.File
	closeAll = func() {
		for _, f := range files {
			f.Close()
		}
	}
	for _, ref := range s.state.Shards {
		f, err := s.open(ref)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		files = append(files, f)
		for _, name := range f.Names() {
			if len(name) > len("optimizer/") && name[:len("optimizer/")] == "optimizer/" {
				t := safetensors.Copy(f, name)
				t.Name = name[len("optimizer/"):]
				ts = append(ts, t)
			}
		}
	}
	return ts, closeAll, nil
}

// frozenOf are the parameters that no shard has, which stay as they start.
func frozenOf(params *nn.Params) (out []*nn.Param) {
	for _, q := range params.List() {
		if q.Frozen {
			out = append(out, q)
		}
	}
	return out
}
