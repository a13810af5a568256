package train

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
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
	// Objective is what is learnt from the sequences, open; nil for [SFT].
	Objective Objective
	// Interrupted, if not nil, is asked by TrainKeys before each step; where it is true, training ends with ErrInterrupted.
	Interrupted func() bool
	// Schedule, if not nil, gives the learning rate of a step, counted from 0, in place of lr_scheduler_type.
	Schedule func(step, total int) float64
}

// Trainer runs optimiser steps. Its state is the parameters, the optimiser's state and the number of steps done: with the
// settings and the data they fix everything that follows.
type Trainer struct {
	Args  Args
	Total int // optimiser steps of the run
	*loop
}

// StepInfo describes one optimiser step. Step counts from 1; Loss is the objective's, before the update: its mean over the step's
// supervised tokens, or what else the objective counts.
type StepInfo struct {
	Step         int     `json:"step"`
	Loss         float64 `json:"loss"`
	LearningRate float64 `json:"learning_rate"`
	GradNorm     float64 `json:"grad_norm"` // before clipping
	Tokens       int     `json:"tokens"`    // input tokens
	Seconds      float64 `json:"seconds"`
	// Metrics are the objective's own, means over the step.
	Metrics map[string]float64 `json:"metrics,omitempty"`
	// Of a round with several replicas: the bytes of what they sent, and of the parameters that they were sent; and who contributed, where
	// late ones are dropped.
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
	r := &Trainer{Args: args, Total: args.StepsFor(s.Sequences)}
	lanes := []*lane{newLane(&r.Args, 0, s.Sequences, "")}
	if r.loop, err = newLoop(&r.Args, &s, args.PerDeviceTrainBatchSize*s.SequenceLength, lanes); err != nil {
		return nil, err
	}
	return r, nil
}

// Done is the number of optimiser steps done.
func (t *Trainer) Done() int { return t.opt.Step }

// Params are the trained parameters.
func (t *Trainer) Params() *nn.Params { return t.params }

// Memory is what the program occupies.
func (t *Trainer) Memory() nn.Memory { return t.prog.Memory() }

// OptimizerBytes is the memory of the optimiser's state.
func (t *Trainer) OptimizerBytes() int64 { return t.opt.Bytes() }

// Gradients computes the gradient sums of one replica's share of the next step into the parameters' Grad. items is what the loss of the
// whole step is over, all replicas together: the number of supervised tokens, unless the objective is a [Counter].
func (t *Trainer) Gradients(data Data, replica int) (lossSum float64, items, tokens int, err error) {
	g, err := t.gradients(data, replica, func() bool { return false })
	return g.loss, g.items, g.tokens, err
}

// gradients is Gradients; own counts the items of the replica alone. It gives up with errLate where late says so.
func (t *Trainer) gradients(data Data, replica int, late func() bool) (tally, error) {
	step, items := t.opt.Step, 0
	var own *share
	for r := range t.Args.Replicas {
		if t.Args.Mode == "local" && r != replica {
			continue
		}
		sh, err := t.take(t.lanes[0], data, step, r)
		if err != nil {
			return tally{}, err
		}
		if items += sh.own; r == replica {
			own = sh
		}
	}
	defer computing()()
	if own.items = items; items == 0 {
		t.params.ZeroGrad()
		return tally{}, t.silent(step, own)
	}
	if err := t.backward(step, []*share{own}, late); err != nil {
		return tally{}, err
	}
	return own.tally, own.err
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
func (t *Trainer) info(sh tally) StepInfo { return t.describe(t.lanes[0], t.opt.Step, sh) }

// step adds the methods' own terms, clips the gradients, applies the optimiser once, and lets the methods step.
func (t *Trainer) step(sum tally) (StepInfo, error) {
	defer computing()()
	sh := &share{lane: t.lanes[0], tally: sum}
	t.update(t.opt.Step, []*share{sh})
	return sh.info, sh.err
}

// Step runs one optimiser step of one replica: forward, backward, clip, update.
func (t *Trainer) Step(data Data, replica int) (StepInfo, error) {
	info, _, err := t.advance(data, replica)
	return info, err
}

// advance is Step with the sums that its means are of.
func (t *Trainer) advance(data Data, replica int) (StepInfo, tally, error) {
	start := time.Now()
	sum, err := t.gradients(data, replica, func() bool { return false })
	if err != nil {
		return StepInfo{}, tally{}, err
	}
	info, err := t.step(sum)
	info.Seconds = time.Since(start).Seconds()
	return info, sum, err
}
