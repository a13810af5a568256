package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// KeyJob is the training of one key's adapter: its sequences, and the adapter it starts from (nil for the method's starting values).
type KeyJob struct {
	Key  string
	Data Data
	Init *peft.Adapter // opened from a folder
	// Tokens is the most tokens of a pass, [KeyTokens]; 0 to count them.
	Tokens int
}

// KeyRun is what training a key gave. Err is set where the key's own training failed, such as by a loss that is not finite; the
// other keys of its group are not affected.
type KeyRun struct {
	Key    string
	Steps  int
	Tokens int64     // input tokens of all steps
	Loss   []float64 // of each step
	Err    error
}

// Groupable says whether several keys' adapters of a method can share each pass over the base. A method that cannot trains key by key.
func Groupable(a *peft.Adapter) bool {
	_, stepper := a.Method.(peft.Stepper)
	_, own := a.Method.(peft.Regulariser)
	_, prompter := a.Method.(peft.Prompter)
	return a.Segmentable() && !stepper && !own && !prompter
}

// KeyTokens is the most tokens that one pass takes of a key: those of its longest sequences, as many as a micro-batch has.
func KeyTokens(args *Args, data Data) (int, error) {
	var lengths []int
	for i := range data.Len() {
		q, err := data.Sequence(i)
		if err != nil {
			return 0, err
		}
		if lengths = append(lengths, len(q.InputIDs)); len(lengths) >= 2*args.PerDeviceTrainBatchSize {
			slices.SortFunc(lengths, func(a, b int) int { return b - a })
			lengths = lengths[:args.PerDeviceTrainBatchSize]
		}
	}
	slices.SortFunc(lengths, func(a, b int) int { return b - a })
	n, most := 0, args.PerDeviceTrainBatchSize
	if !args.wraps() {
		most = min(most, len(lengths))
	}
	for i := range most {
		n += lengths[min(i, len(lengths)-1)] // where batches wrap, a key of few sequences repeats them
	}
	return n, nil
}

// TrainKeys trains one adapter a key, all of them together: each pass over the frozen base takes a micro-batch of every key, whose rows use
// that key's slot of the banks (nn.Segment). s.Params has a slot a key, and afterwards the trained values; s.Adapters is the one adapter.
// Everything else is each key's own, as when it is trained alone: order, number of steps, schedule, count of supervised tokens, clipping,
// optimiser. So the values of a slot do not depend on the other keys. s.SequenceLength and s.Sequences are not read.
//
// The adapter must be [Groupable]; with one key it need only fit a Trainer.
func TrainKeys(args Args, s Setup, jobs []KeyJob) ([]KeyRun, error) {
	if err := args.Validate(); err != nil {
		return nil, err
	}
	a, ok := s.Adapters[0].(*peft.Adapter)
	switch {
	case len(s.Adapters) != 1 || !ok || s.Params.Slots() != len(jobs) || len(jobs) == 0:
		panic("train: TrainKeys wants one adapter, and parameters with a slot a key")
	case args.Replicas != 1:
		return nil, errors.New("train: keys are trained by one replica each: set replicas to 1")
	case s.Teachers != nil:
		return nil, errors.New("train: training by key learns from no teachers")
	case !Groupable(a) && len(jobs) > 1:
		return nil, fmt.Errorf("train: %s adapters cannot share a pass over the base: train them key by key", a.Type())
	}
	if err := initialised(a); err != nil {
		return nil, err
	}
	if !Groupable(a) {
		return trainKey(args, s, a, jobs[0])
	}
	g := keyGroup{args: &args, setup: &s, jobs: jobs, loss: losses["sft"]}
	tokens := 0
	for i := range jobs {
		if err := args.batches(jobs[i].Data.Len()); err != nil {
			return nil, fmt.Errorf("key %q: %w", jobs[i].Key, err)
		}
		n := jobs[i].Tokens
		if n == 0 {
			var err error
			if n, err = KeyTokens(&args, jobs[i].Data); err != nil {
				return nil, err
			}
		}
		tokens += n
		g.totals = append(g.totals, args.StepsFor(jobs[i].Data.Len()))
		g.orders = append(g.orders, NewOrder(&args, jobs[i].Data.Len()))
		g.runs = append(g.runs, KeyRun{Key: jobs[i].Key})
	}
	pairs, err := Freeze(&args, s.Adapters, s.Params)
	if err != nil {
		return nil, err
	}
	g.prog, err = nn.Compile(s.Wiring, s.Adapters, s.Params, nn.Options{Mode: nn.ModeTrain, Caps: nn.Caps{T: tokens, S: tokens, N: tokens}, Pool: s.Pool,
		Checkpoint: s.Checkpoint, MemoryLimit: s.MemoryLimit, Beside: func() int64 { return OptimizerBytes(&args, s.Params) }, DType: s.DType, Seed: args.Seed})
	if err != nil {
		return nil, err
	}
	defer g.prog.Close()
	g.opt = NewOptimizer(&args, s.Params, pairs)
	defer g.opt.Close()
	g.coef = make([]float32, tokens)
	for i := range jobs {
		if err := startKey(a, s.Params, i, jobs[i].Init); err != nil {
			return nil, fmt.Errorf("key %q: %w", jobs[i].Key, err)
		}
	}
	for step := range slices.Max(g.totals) {
		if interrupted.Load() {
			return nil, ErrInterrupted
		}
		if err := g.step(step); err != nil {
			return nil, err
		}
	}
	return g.runs, nil
}

// startKey gives a slot its starting values.
func startKey(a *peft.Adapter, params *nn.Params, slot int, from *peft.Adapter) error {
	if from == nil {
		return a.Initial(params, slot)
	}
	return a.HotSwap(params, slot, from)
}

// trainKey trains one key with a Trainer.
func trainKey(args Args, s Setup, a *peft.Adapter, job KeyJob) ([]KeyRun, error) {
	n := 0
	for i := range job.Data.Len() {
		q, err := job.Data.Sequence(i)
		if err != nil {
			return nil, err
		}
		n = max(n, len(q.InputIDs))
	}
	s.SequenceLength, s.Sequences = n, job.Data.Len()
	t, err := NewTrainer(args, s)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	if err := startKey(a, s.Params, 0, job.Init); err != nil {
		return nil, fmt.Errorf("key %q: %w", job.Key, err)
	}
	run := KeyRun{Key: job.Key}
	for t.Done() < t.Total {
		if interrupted.Load() {
			return nil, ErrInterrupted
		}
		info, err := t.Step(job.Data, 0)
		if err != nil {
			run.Err = err
			break
		}
		run.Steps, run.Tokens, run.Loss = info.Step, run.Tokens+int64(info.Tokens), append(run.Loss, info.Loss)
	}
	return []KeyRun{run}, nil
}

// keyGroup is a training of several keys.
type keyGroup struct {
	args   *Args
	setup  *Setup
	jobs   []KeyJob
	prog   *nn.Program
	opt    *Optimizer
	loss   Loss
	coef   []float32
	totals []int
	orders []*Order
	runs   []KeyRun
}

// share is one key's part of a micro-batch.
type share struct {
	slot, items int
	seqs        [][]datasets.Sequence // by micro-batch
	packs       []*nn.Step
	sum         float64
	tokens      int
}

// step runs the optimiser step (counted from 0) of every key that has not reached its end.
func (g *keyGroup) step(step int) error {
	var shares []*share
	for i, job := range g.jobs {
		if step >= g.totals[i] || g.runs[i].Err != nil {
			continue
		}
		sh := &share{slot: i}
		for _, micro := range g.orders[i].Batch(step, 0) {
			seqs, err := sequences(job.Data, micro)
			if err != nil {
				return fmt.Errorf("key %q: %w", job.Key, err)
			}
			p, err := StepFrom(seqs)
			if err != nil {
				return fmt.Errorf("key %q: %w", job.Key, err)
			}
			sh.items, sh.tokens = sh.items+len(p.Rows), sh.tokens+len(p.Tokens)
			sh.seqs, sh.packs = append(sh.seqs, seqs), append(sh.packs, p)
		}
		if sh.items == 0 {
			if g.runs[i].Err = g.args.silent(step, docs(slices.Concat(sh.seqs...))); g.runs[i].Err != nil {
				continue
			}
		}
		shares = append(shares, sh)
	}
	g.setup.Params.ZeroGrad()
	for m := range g.args.GradientAccumulationSteps {
		g.pass(step, m, shares)
	}
	pool, params := g.setup.Pool, g.setup.Params
	norms := make([]error, len(shares))
	pool.Run(len(shares), func(k int) { norms[k] = clipSlot(params, shares[k].slot, g.args.MaxGradNorm) })
	rates := make([]float64, len(g.jobs))
	for i := range rates {
		rates[i] = math.NaN()
	}
	for k, sh := range shares {
		run := &g.runs[sh.slot]
		if run.Err == nil && norms[k] != nil {
			run.Err = fmt.Errorf("step %d: %w: lower learning_rate", step+1, norms[k])
		}
		if run.Err != nil {
			continue
		}
		run.Steps, run.Tokens, run.Loss = step+1, run.Tokens+int64(sh.tokens), append(run.Loss, sh.sum/float64(max(sh.items, 1)))
		if rates[sh.slot] = g.args.LearningRateAt(step, g.totals[sh.slot]); g.setup.Schedule != nil {
			rates[sh.slot] = g.setup.Schedule(step, g.totals[sh.slot])
		}
	}
	g.opt.applySlots(pool, rates)
	for _, sh := range shares {
		if run := &g.runs[sh.slot]; run.Err == nil {
			if q := params.SlotNonFinite(sh.slot); q != nil {
				run.Err = fmt.Errorf("step %d: the optimiser makes %s not finite: lower learning_rate or raise warmup_steps", step+1, q.Name)
			}
		}
	}
	return nil
}

// pass runs micro-batch m of every share through the base once.
func (g *keyGroup) pass(step, m int, shares []*share) {
	all := &nn.Step{Index: uint64(step), Segments: []nn.Segment{}}
	ends := make([]int, len(shares)) // of each share's labels
	for k, sh := range shares {
		if ends[k] = len(all.Rows); m >= len(sh.packs) || len(sh.packs[m].Rows) == 0 {
			continue
		}
		p := sh.packs[m]
		at := len(all.Tokens)
		all.Tokens, all.Positions, all.Labels = append(all.Tokens, p.Tokens...), append(all.Positions, p.Positions...), append(all.Labels, p.Labels...)
		all.DocIDs = append(all.DocIDs, p.DocIDs...)
		for _, r := range p.Rows {
			all.Rows = append(all.Rows, r+int32(at))
		}
		for _, d := range p.Docs {
			d.Start, d.End = d.Start+int32(at), d.End+int32(at)
			all.Docs = append(all.Docs, d)
		}
		all.Segments = append(all.Segments, nn.Segment{Start: at, End: len(all.Tokens), Slot: sh.slot})
		ends[k] = len(all.Rows)
	}
	if len(all.Rows) == 0 {
		return // every label is masked
	}
	logp := g.prog.Forward(all, true)
	coef, from := g.coef[:len(logp)], 0
	for k, sh := range shares {
		to := ends[k]
		sum := 0.0
		if to > from {
			sum = g.loss(logp[from:to], sh.items, coef[from:to])
		}
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			if run := &g.runs[sh.slot]; run.Err == nil {
				run.Err = lost(sum, step, sh.seqs[m], fmt.Sprintf("key %q", g.jobs[sh.slot].Key))
			}
			clear(coef[from:to])
		}
		sh.sum += sum
		from = to
	}
	g.prog.Backward(coef)
}

// clipSlot is ClipGradNorm of one slot.
func clipSlot(params *nn.Params, slot int, limit float64) error {
	_, err := clip(params, limit, func(q *nn.Param) []float32 { return q.GradSlot(slot) })
	return err
}
