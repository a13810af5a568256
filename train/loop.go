package train

import (
	"fmt"
	"math"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// loop is the training loop, of a [Trainer] and of [TrainKeys]: optimiser steps of lanes, which share each pass over the base. What a lane
// learns does not depend on the others.
type loop struct {
	args   *Args
	params *nn.Params
	prog   *nn.Program
	pool   *pool.Pool
	opt    *Optimizer
	goal   goal
	rate   func(step, total int) float64
	coef   []float32
	lanes  []*lane
	// What methods do beside their gradients: a term of the loss, and a step after the optimiser's.
	pairs    []peft.Factor
	terms    []peft.Regulariser
	steppers []peft.Stepper
	fresh    [][]byte // the steppers' states before the first step
}

// lane is what a slot of the parameters trains on.
type lane struct {
	slot  int
	name  string // for errors; "" for the only one
	total int    // optimiser steps
	order *Order
}

// newLane is a lane over n sequences.
func newLane(args *Args, slot, n int, name string) *lane {
	return &lane{slot: slot, name: name, total: args.StepsFor(n), order: NewOrder(args, n)}
}

// newLoop compiles the program for passes of at most tokens tokens and makes the optimiser. It keeps args.
func newLoop(args *Args, s *Setup, tokens int, lanes []*lane) (_ *loop, err error) {
	l := &loop{args: args, params: s.Params, pool: s.Pool, goal: newGoal(s.Objective), rate: s.Schedule, lanes: lanes}
	l.goal.share = l.goal.share && args.SharedPrompts == SharedAuto
	if err := l.fits(s.Adapters); err != nil {
		return nil, err
	}
	prompt := nn.PromptOf(s.Adapters)
	docs := max(prompt.Documents(tokens, args.PerDeviceTrainBatchSize), l.goal.spec.Group)
	if l.pairs, err = Freeze(args, s.Adapters, s.Params); err != nil {
		return nil, err
	}
	l.prog, err = nn.Compile(s.Wiring, s.Adapters, s.Params, nn.Options{Mode: nn.ModeTrain, Caps: nn.Caps{T: tokens, S: tokens, N: docs},
		Pool: s.Pool, Checkpoint: s.Checkpoint, MemoryLimit: s.MemoryLimit,
		Beside: func() int64 { return HeldOptimizerBytes(args, s.Params) },
		DType:  s.DType, Seed: args.Seed})
	if err != nil {
		return nil, err
	}
	returnHeap(l.prog)
	l.coef = make([]float32, tokens+docs*len(prompt.Labels))
	if err := l.useMethods(s.Adapters); err != nil {
		l.prog.Close()
		return nil, err
	}
	var owned map[string]bool
	if args.OptimizerShards > 1 {
		owned = map[string]bool{} // a round makes the optimiser of a shard when it needs it
	}
	l.opt = newOptimizer(args, s.Params, l.pairs, owned)
	if l.rate == nil {
		l.rate = args.LearningRateAt
	}
	return l, nil
}

// fits says why the objective cannot train the adapters, nil where it can.
func (l *loop) fits(adapters []nn.Adapter) error {
	if l.goal.spec.Alone && len(l.lanes) > 1 {
		return fmt.Errorf("train: the objective %T trains one adapter at a time, not several keys together", l.goal.Objective)
	}
	for _, a := range adapters {
		if x, ok := a.(*peft.Adapter); ok && l.goal.spec.Reference && !x.Segmentable() {
			return fmt.Errorf("train: the objective compares the adapter with the base alone, and a %s adapter cannot be switched off "+
				"within a pass: "+
				"use another method", x.Type())
		}
	}
	return nil
}

// Close frees the program and the optimiser's state.
func (l *loop) Close() {
	l.prog.Close()
	l.opt.Close()
}

// share is a lane's part of an optimiser step: a batch a micro-batch, and what becomes of them.
type share struct {
	*lane
	tally
	batches []*Batch
	seqs    [][]datasets.Sequence
	info    StepInfo
	err     error // the lane's own: the others go on
}

// tally is what was done of a step or of a round, beside its tensors.
type tally struct {
	loss    float64 // sync: the sum over its items; local: the mean of its steps
	items   int     // sync: what the loss of the whole step is over, such as its supervised tokens
	own     int     // of them this replica's
	tokens  int
	metrics metrics
}

// take reads and packs what a replica takes of a lane's step, which is counted from 0.
func (l *loop) take(ln *lane, data Data, step, replica int) (*share, error) {
	sh := &share{lane: ln}
	for _, micro := range ln.order.Batch(step, replica) {
		seqs, err := sequences(data, micro)
		if err != nil {
			return nil, err
		}
		b, err := l.goal.batch(seqs)
		if err != nil {
			return nil, err
		}
		if l.params.Slots() > 1 {
			b.Step.Segments = []nn.Segment{{End: len(b.Step.Tokens), Slot: ln.slot}}
		}
		b.Step.Index = uint64(step)
		sh.own, sh.tokens = sh.own+l.goal.items(b, l.prog), sh.tokens+len(b.Step.Tokens)
		sh.batches, sh.seqs = append(sh.batches, b), append(sh.seqs, seqs)
	}
	sh.items = sh.own
	return sh, nil
}

// silent is the error of a share in which nothing has a loss.
func (l *loop) silent(step int, sh *share) error {
	return l.args.silent(step, docs(slices.Concat(sh.seqs...)))
}

// backward computes the gradient sums of shares into the parameters' Grad: a pass over the base takes a micro-batch of each. It gives up
// with errLate where late says so.
func (l *loop) backward(step int, shares []*share, late func() bool) error {
	l.params.ZeroGrad()
	for m := 0; ; m++ {
		more := false
		var whole []piece
		for _, sh := range shares {
			if m < len(sh.batches) && sh.err == nil {
				more = true
				if l.prog.Supervised(sh.batches[m].Step) > 0 {
					whole = append(whole, piece{sh, m, sh.batches[m]})
				}
			}
		}
		if !more {
			return nil
		}
		if late() {
			return errLate
		}
		var passes [][]piece
		if len(whole) == 1 {
			for _, part := range l.goal.parts(whole[0].batch, l.prog, true) {
				passes = append(passes, []piece{{whole[0].share, m, part}})
			}
		} else { // the program has room for all
			for _, x := range whole {
				l.goal.shared(x.batch, l.prog, true)
			}
			passes = append(passes, whole)
		}
		for _, pieces := range passes {
			if err := l.pass(step, pieces); err != nil {
				return err
			}
		}
	}
}

// piece is a share's part of a pass.
type piece struct {
	*share
	micro int
	batch *Batch
}

// pass runs pieces of different shares through the base once, forward and backward.
func (l *loop) pass(step int, pieces []piece) error {
	if len(pieces) == 0 || pieces[0].err != nil || len(pieces) == 1 && l.prog.Supervised(pieces[0].batch.Step) == 0 {
		return nil // every label is masked
	}
	for _, p := range pieces {
		if err := l.goal.prepare(p.batch, &Pass{Training: true, Slot: p.slot, prog: l.prog, ref: l.goal.ref}); err != nil {
			return fmt.Errorf("step %d: %w", step+1, err)
		}
	}
	all := join(pieces)
	logp := l.prog.Forward(all, !l.goal.spec.NoDropout)
	split(all, pieces)
	coef, from, lost := l.coef[:len(logp)], 0, 0
	for k, p := range pieces {
		to := from + len(p.batch.Step.Rows)
		if k == len(pieces)-1 {
			to = len(logp) // with those of virtual tokens
		}
		sum := l.goal.judge(p.batch, logp[from:to], p.items, coef[from:to], &p.metrics)
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			if lost++; p.err == nil {
				why := fmt.Sprintf("key %q", p.name)
				if len(pieces) == 1 {
					why = l.prog.Why(all, true)
				}
				p.err = lostStep(sum, step, p.seqs[p.micro], why)
			}
			clear(coef[from:to])
		}
		p.loss += sum
		from = to
	}
	if lost < len(pieces) {
		l.prog.Backward(coef)
	}
	return nil
}

// join packs the batches of pieces one after another; that of one piece is itself.
func join(pieces []piece) *nn.Step {
	if len(pieces) == 1 {
		return pieces[0].batch.Step
	}
	all := &nn.Step{Segments: []nn.Segment{}}
	for _, x := range pieces {
		p, at := x.batch.Step, len(all.Tokens)
		all.Index, all.Scores, all.Temperature = p.Index, p.Scores, p.Temperature
		all.Tokens, all.Positions = append(all.Tokens, p.Tokens...), append(all.Positions, p.Positions...)
		all.Labels, all.DocIDs = append(all.Labels, p.Labels...), append(all.DocIDs, p.DocIDs...)
		for _, r := range p.Rows {
			all.Rows = append(all.Rows, r+int32(at))
		}
		for _, d := range p.Docs {
			d.Start, d.End = d.Start+int32(at), d.End+int32(at)
			if d.Past > 0 {
				d.Cache += int32(at)
			}
			all.Docs = append(all.Docs, d)
		}
		all.Segments = append(all.Segments, nn.Segment{Start: at, End: len(all.Tokens), Slot: x.slot})
		if p.Targets != nil {
			panic("train: targets in a pass of several adapters: the objective's Spec must say Alone")
		}
		if st := p.Stats; st != nil {
			if all.Stats == nil {
				all.Stats = &nn.RowStats{}
			}
			all.Stats.Entropy, all.Stats.MeanLogit = append(all.Stats.Entropy, st.Entropy...), append(all.Stats.MeanLogit, st.MeanLogit...)
			all.Stats.Squares, all.Stats.Top = append(all.Stats.Squares, st.Squares...), append(all.Stats.Top, st.Top...)
		}
	}
	return all
}

// split hands what the head told of the rows of a joint step to the batches.
func split(all *nn.Step, pieces []piece) {
	if len(pieces) == 1 || all.Stats == nil {
		return
	}
	from := 0
	for _, p := range pieces {
		st := p.batch.Step.Stats
		copy(st.Entropy, all.Stats.Entropy[min(from, len(all.Stats.Entropy)):])
		copy(st.MeanLogit, all.Stats.MeanLogit[min(from, len(all.Stats.MeanLogit)):])
		copy(st.Squares, all.Stats.Squares[min(from, len(all.Stats.Squares)):])
		copy(st.Top, all.Stats.Top[min(from, len(all.Stats.Top)):])
		from += len(p.batch.Step.Rows)
	}
}

// lostStep is the error of a step whose loss is NaN or infinite.
func lostStep(sum float64, step int, seqs []datasets.Sequence, why string) error {
	advice := "lower learning_rate or raise warmup_steps, or look at these documents"
	if step == 0 { // nothing has moved yet
		advice = "look at the base's weights and config.json, at the adapter that training starts from, and at these documents"
	}
	return fmt.Errorf("step %d: the loss is %g, which is not finite, in a batch of documents %v: %s; %s",
		step+1, sum, docs(seqs), why, advice)
}

// describe is what is known of a lane's step (counted from 0) before the update.
func (l *loop) describe(ln *lane, step int, sh tally) StepInfo {
	return StepInfo{Step: step + 1, Tokens: sh.tokens, Loss: sh.loss / float64(max(sh.items, 1)), LearningRate: l.rate(step, ln.total),
		Metrics: l.goal.means(sh.metrics)}
}

// update adds the methods' own terms, clips the gradients of each share, applies the optimiser once, and lets the methods step. A share
// that has failed stays as it is; one that fails here has its error.
func (l *loop) update(step int, shares []*share) {
	l.pool.Run(len(shares), func(k int) {
		sh := shares[k]
		if sh.err != nil {
			return
		}
		sh.info = l.describe(sh.lane, step, sh.tally)
		for _, m := range l.terms {
			sh.info.Loss += m.Regularise(l.params, sh.slot)
		}
		if sh.info.GradNorm, sh.err = clipSlot(l.params, sh.slot, l.args.MaxGradNorm); sh.err != nil {
			sh.err = fmt.Errorf("step %d: %w: lower learning_rate", step+1, sh.err)
		}
	})
	rates := make([]float64, l.params.Slots())
	for i := range rates {
		rates[i] = math.NaN()
	}
	moved := false
	for _, sh := range shares {
		if sh.err == nil {
			rates[sh.slot], moved = sh.info.LearningRate, true
		}
	}
	if !moved {
		return
	}
	l.opt.applySlots(l.pool, rates)
	l.goal.ref.follow(step + 1)
	for _, sh := range shares {
		if sh.err != nil {
			continue
		}
		if q := l.params.SlotNonFinite(sh.slot); q != nil {
			sh.err = fmt.Errorf("step %d: the optimiser makes %s not finite: lower learning_rate or raise warmup_steps", step+1, q.Name)
			continue
		}
		for _, m := range l.steppers {
			if err := m.Step(l.params, sh.slot, step, sh.total); err != nil {
				sh.err = fmt.Errorf("step %d: %w", step+1, err)
				break
			}
		}
	}
}

// clipSlot is ClipGradNorm of one slot.
func clipSlot(params *nn.Params, slot int, limit float64) (float64, error) {
	return clip(params, limit, func(q *nn.Param) []float32 { return q.GradSlot(slot) })
}
