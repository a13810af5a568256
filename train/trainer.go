package train

import (
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// Setup is what a Trainer works with beside its settings.
type Setup struct {
	Wiring         nn.Wiring
	Adapters       []nn.Adapter
	Params         *nn.Params
	Pool           *pool.Pool
	SequenceLength int
	Sequences      int // training sequences, to turn epochs into steps
	Checkpoint     nn.CheckpointMode
	MemoryLimit    int64 // bytes for the program and the optimiser, 0 for none
	DType          nn.DType
	Classes        int // above 0: the model classifies documents, into so many classes
	// Teachers, if not nil, are what the model is distilled from.
	Teachers *Teachers
	// Schedule, if not nil, gives the learning rate of a step, counted from 0, in place of lr_scheduler_type.
	Schedule func(step, total int) float64
}

// Trainer runs optimiser steps. Its state is the parameters, the optimiser's state and the number of steps done: with the
// settings and the data they fix everything that follows.
type Trainer struct {
	Args   Args
	Total  int // optimiser steps of the run
	params *nn.Params
	opt    *Optimizer
	prog   *nn.Program
	pool   *pool.Pool
	order  *Order
	coef   []float32
	loss   Loss
	pack   func([]datasets.Sequence) (*nn.Step, error)
	rate   func(step, total int) float64
	teach  *Teachers // nil for none
	// What methods do beside their gradients: a term of the loss, and a step after the optimiser's.
	pairs    []peft.Factor
	terms    []peft.Regulariser
	steppers []peft.Stepper
	fresh    [][]byte // the steppers' states before the first step
}

// StepInfo describes one optimiser step. Step counts from 1; Loss is the mean over the step's supervised tokens, before the update: with teachers, the cross entropy with what
// they say (see [Teachers]).
type StepInfo struct {
	Step         int     `json:"step"`
	Loss         float64 `json:"loss"`
	LearningRate float64 `json:"learning_rate"`
	GradNorm     float64 `json:"grad_norm"` // before clipping
	Tokens       int     `json:"tokens"`    // input tokens
	Seconds      float64 `json:"seconds"`
	// Of a round with several replicas: the bytes of what they sent, and of the parameters that they were sent; and who contributed, where late ones are dropped.
	BytesSent     int64 `json:"bytes_sent,omitempty"`
	BytesReceived int64 `json:"bytes_received,omitempty"`
	Contributors  []int `json:"contributors,omitempty"`
}

// NewTrainer compiles the program and makes the optimiser.
func NewTrainer(args Args, s Setup) (_ *Trainer, err error) {
	defer mem.Catch(&err, "take an optimiser with a smaller state, such as adamw_8bit or sgd, or train fewer parameters")
	if err := args.Validate(); err != nil {
		return nil, err
	}
	if err := args.batches(s.Sequences); err != nil {
		return nil, err
	}
	t := args.PerDeviceTrainBatchSize * s.SequenceLength
	prompt := nn.PromptOf(s.Adapters)
	n := prompt.Documents(t, args.PerDeviceTrainBatchSize)
	pairs, err := Freeze(&args, s.Adapters, s.Params)
	if err != nil {
		return nil, err
	}
	prog, err := nn.Compile(s.Wiring, s.Adapters, s.Params, nn.Options{Mode: nn.ModeTrain, Caps: nn.Caps{T: t, S: t, N: n}, Pool: s.Pool,
		Checkpoint: s.Checkpoint, MemoryLimit: s.MemoryLimit, Beside: func() int64 { return HeldOptimizerBytes(&args, s.Params) }, DType: s.DType, Seed: args.Seed})
	if err != nil {
		return nil, err
	}
	returnHeap(prog)
	r := &Trainer{Args: args, Total: args.StepsFor(s.Sequences), params: s.Params, prog: prog, pool: s.Pool,
		coef: make([]float32, t+n*len(prompt.Labels)), loss: losses["sft"], teach: s.Teachers}
	r.order = NewOrder(&r.Args, s.Sequences)
	r.pack = StepFrom
	if s.Classes > 0 {
		r.pack = ClassStepFrom
	}
	if err := r.useMethods(s.Adapters); err != nil {
		prog.Close()
		return nil, err
	}
	r.pairs = pairs
	var owned map[string]bool
	if args.OptimizerShards > 1 {
		owned = map[string]bool{} // a round makes the optimiser of a shard when it needs it
	}
	r.opt = newOptimizer(&r.Args, s.Params, pairs, owned)
	if r.rate = s.Schedule; r.rate == nil {
		r.rate = r.Args.LearningRateAt
	}
	return r, nil
}

// Close frees the program and the optimiser's state.
func (t *Trainer) Close() {
	t.prog.Close()
	t.opt.Close()
}

// Done is the number of optimiser steps done.
func (t *Trainer) Done() int { return t.opt.Step }

// Params are the trained parameters.
func (t *Trainer) Params() *nn.Params { return t.params }

// Memory is what the program occupies.
func (t *Trainer) Memory() nn.Memory { return t.prog.Memory() }

// OptimizerBytes is the memory of the optimiser's state.
func (t *Trainer) OptimizerBytes() int64 { return t.opt.Bytes() }

// batch reads the sequences that a replica takes in the step (counted from 0), a list a micro-batch.
func (t *Trainer) batch(data Data, step, replica int) ([][]datasets.Sequence, error) {
	var out [][]datasets.Sequence
	for _, micro := range t.order.Batch(step, replica) {
		seqs, err := sequences(data, micro)
		if err != nil {
			return nil, err
		}
		out = append(out, seqs)
	}
	return out, nil
}

// Gradients computes the gradient sums of one replica's share of the next step into the parameters' Grad. items is the number of
// supervised tokens of the whole step, over all replicas.
func (t *Trainer) Gradients(data Data, replica int) (lossSum float64, items, tokens int, err error) {
	g, err := t.gradients(data, replica, func() bool { return false })
	return g.loss, g.items, g.tokens, err
}

// gradients is Gradients; own counts the supervised tokens of the replica alone. It gives up with errLate where late says so.
func (t *Trainer) gradients(data Data, replica int, late func() bool) (tally, error) {
	var sh tally
	step := t.opt.Step
	var own []*nn.Step
	var ownSeqs [][]datasets.Sequence
	for r := range t.Args.Replicas {
		if t.Args.Mode == "local" && r != replica {
			continue
		}
		micro, err := t.batch(data, step, r)
		if err != nil {
			return tally{}, err
		}
		for _, m := range micro {
			s, err := t.pack(m)
			if err != nil {
				return tally{}, err
			}
			sh.items += t.prog.Supervised(s)
			if r == replica {
				sh.own += t.prog.Supervised(s)
				s.Index = uint64(step)
				own, ownSeqs = append(own, s), append(ownSeqs, m)
			}
		}
	}
	defer computing()()
	t.params.ZeroGrad()
	if sh.items == 0 {
		return tally{}, t.Args.silent(step, docs(slices.Concat(ownSeqs...)))
	}
	for i, s := range own {
		if late() {
			return tally{}, errLate
		}
		sh.tokens += len(s.Tokens)
		for _, part := range t.prog.Parts(s) {
			if t.prog.Supervised(part) == 0 {
				continue
			}
			if t.teach != nil {
				if err := t.teach.Teach(part); err != nil {
					return tally{}, fmt.Errorf("step %d: %w", step+1, err)
				}
			}
			logp := t.prog.Forward(part, true)
			sum := t.loss(logp, sh.items, t.coef[:len(logp)])
			if math.IsNaN(sum) || math.IsInf(sum, 0) {
				return tally{}, lost(sum, step, ownSeqs[i], t.prog.Why(part, true))
			}
			sh.loss += sum
			t.prog.Backward(t.coef[:len(logp)])
		}
	}
	return sh, nil
}

// lost is the error of a step whose loss is NaN or infinite.
func lost(sum float64, step int, seqs []datasets.Sequence, why string) error {
	advice := "lower learning_rate or raise warmup_steps, or look at these documents"
	if step == 0 { // nothing has moved yet
		advice = "look at the base's weights and config.json, at the adapter that training starts from, and at these documents"
	}
	return fmt.Errorf("step %d: the loss is %g, which is not finite, in a batch of documents %v: %s; %s", step+1, sum, docs(seqs), why, advice)
}

// computed counts the nanoseconds of [Computed].
var computed atomic.Int64

// Computed is how long this process has computed gradients and optimiser steps: what a round takes beside that is its overhead.
func Computed() time.Duration { return time.Duration(computed.Load()) }

// computing counts the time until its result is called.
func computing() func() {
	start := time.Now()
	return func() { computed.Add(int64(time.Since(start))) }
}

func docs(seqs []datasets.Sequence) []string {
	var ids []string
	for _, s := range seqs {
		ids = append(ids, s.DocIDs...)
	}
	if len(ids) > 8 {
		ids = append(ids[:8:8], fmt.Sprintf("and %d more", len(ids)-8))
	}
	return ids
}

// info describes the next step, as far as it is known before the update.
func (t *Trainer) info(lossSum float64, items, tokens int) StepInfo {
	return StepInfo{Step: t.opt.Step + 1, Tokens: tokens, Loss: lossSum / float64(max(items, 1)), LearningRate: t.rate(t.opt.Step, t.Total)}
}

// Update adds the methods' own terms, clips the gradients, applies the optimiser once, and lets the methods step.
func (t *Trainer) Update(lossSum float64, items, tokens int) (StepInfo, error) {
	defer computing()()
	info := t.info(lossSum, items, tokens)
	for _, m := range t.terms {
		for slot := range t.params.Slots() {
			info.Loss += m.Regularise(t.params, slot)
		}
	}
	var err error
	if info.GradNorm, err = ClipGradNorm(t.params, t.Args.MaxGradNorm); err != nil {
		return info, fmt.Errorf("step %d: %w: lower learning_rate", info.Step, err)
	}
	t.opt.Apply(t.pool, info.LearningRate)
	if q := t.params.NonFinite(); q != nil {
		return info, fmt.Errorf("step %d: the optimiser makes %s not finite: lower learning_rate or raise warmup_steps", info.Step, q.Name)
	}
	for _, m := range t.steppers {
		for slot := range t.params.Slots() {
			if err := m.Step(t.params, slot, info.Step-1, t.Total); err != nil {
				return info, fmt.Errorf("step %d: %w", info.Step, err)
			}
		}
	}
	return info, nil
}

// Step runs one optimiser step of one replica: forward, backward, clip, update.
func (t *Trainer) Step(data Data, replica int) (StepInfo, error) {
	start := time.Now()
	sum, items, tokens, err := t.Gradients(data, replica)
	if err != nil {
		return StepInfo{}, err
	}
	info, err := t.Update(sum, items, tokens)
	info.Seconds = time.Since(start).Seconds()
	return info, err
}

// Scorer computes mean log-likelihoods without gradients.
type Scorer struct {
	prog *nn.Program
	cap  int
	pack func([]datasets.Sequence) (*nn.Step, error)
}

// NewScorer compiles a program that scores up to tokens tokens at once.
func NewScorer(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, tokens int) (*Scorer, error) {
	prog, err := nn.Compile(w, adapters, params, nn.Options{Mode: nn.ModeScore, Pool: p,
		Caps: nn.Caps{T: tokens, S: tokens, N: nn.PromptOf(adapters).Documents(tokens, 1)}})
	if err != nil {
		return nil, err
	}
	return &Scorer{prog, tokens, StepFrom}, nil
}

// NLL is the negative log-likelihood of the sequences, summed, and the number of tokens it is over.
func (s *Scorer) NLL(seqs []datasets.Sequence) (sum float64, tokens int, err error) {
	return s.SlotNLL(seqs, 0)
}

// SlotNLL is NLL with the adapter of a slot; -1 is the base alone, of adapters that can be segmented.
func (s *Scorer) SlotNLL(seqs []datasets.Sequence, slot int) (sum float64, tokens int, err error) {
	for len(seqs) > 0 {
		n, used := 0, 0
		for n < len(seqs) && used+len(seqs[n].InputIDs) <= s.cap {
			used += len(seqs[n].InputIDs)
			n++
		}
		if n == 0 {
			return 0, 0, fmt.Errorf("a sequence of %d tokens in a program for %d", len(seqs[0].InputIDs), s.cap)
		}
		batch := seqs[:n]
		step, err := s.pack(batch)
		if err != nil {
			return 0, 0, err
		}
		if slot != 0 {
			step.Segments = []nn.Segment{{End: len(step.Tokens), Slot: slot}}
		}
		for _, part := range s.prog.Parts(step) {
			if len(part.Rows) == 0 {
				continue
			}
			nll := 0.0
			for _, l := range s.prog.Forward(part, false) {
				nll -= float64(l)
			}
			if math.IsNaN(nll) || math.IsInf(nll, 0) {
				return 0, 0, fmt.Errorf("the model scores %g, which is not finite, on documents %v: %s", nll, docs(batch), s.prog.Why(part, false))
			}
			sum += nll
			tokens += len(part.Rows)
		}
		seqs = seqs[n:]
	}
	return sum, tokens, nil
}

// Close frees the program.
func (s *Scorer) Close() { s.prog.Close() }
