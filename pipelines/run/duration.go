package run

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/train"
)

// Duration is how long a recipe takes on this machine, by steps that were measured on random tokens.
type Duration struct {
	Steps       int     `json:"steps,omitempty"` // 0 where epochs of data that is not read yet decide
	StepSeconds float64 `json:"step_seconds"`
	StepTokens  int     `json:"step_tokens"`
	PerSecond   float64 `json:"tokens_per_second"`
	Training    float64 `json:"training_seconds,omitempty"`
	// Scoring is that of the held-out and the general text, before and after, at most; 0 where max_sequences takes all of them.
	Scoring float64 `json:"scoring_seconds,omitempty"`
	// Without says what is not in it.
	Without []string `json:"without"`
}

// The calibration takes whole sequences of at most so many tokens, of which one step warms up, and ends after so many steps and seconds.
const (
	calibrationTokens  = 1024
	calibrationSteps   = 8
	calibrationSeconds = 3.0
)

// Measure takes a few steps of the recipe's program over random tokens, with as many of its sequences as a short measurement allows, and
// says how long the recipe's own take: their operations at the rate that was measured.
func (p *Planned) Measure() (*Duration, error) {
	r, rec := p.run, p.Recipe
	if r.task().Type != "" {
		return nil, errors.New("the time of a model with a head of scores is not measured")
	}
	own, length := p.Args, rec.Prepare.SequenceLength
	args := own
	args.PerDeviceTrainBatchSize = max(1, min(own.PerDeviceTrainBatchSize, calibrationTokens/length))
	args.GradientAccumulationSteps, args.Replicas, args.Mode, args.OptimizerShards, args.MinReplicas = 1, 1, "sync", 1, 1
	args.MaxSteps, args.EvalSteps, args.EarlyStoppingPatience, args.LoadBestModelAtEnd = calibrationSteps+1, 0, 0, false
	args.Stride, args.Order = 1, train.OrderWrapped
	a, err := r.Adapter(rec.Train.InitAdapter)
	if err != nil {
		return nil, err
	}
	params, threads := nn.NewParams(1), pool.New(0)
	defer params.Free()
	defer threads.Close()
	data := randomSequences(args.PerDeviceTrainBatchSize*args.MaxSteps, length, r.model.Config.Vocab)
	limit, err := rec.Model.Limit()
	if err != nil {
		return nil, err
	}
	if limit, err = train.ProgramLimit(limit, train.ProcessBytes(r.model), r.model, p.beside); err != nil {
		return nil, err
	}
	t, err := train.NewTrainer(args, train.Setup{Wiring: r.model, Adapters: []nn.Adapter{a}, Params: params, Pool: threads,
		SequenceLength: length, Sequences: data.Len(), MemoryLimit: limit, DType: train.Values(r.dtype)})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	var steps []float64
	for begun := time.Now(); len(steps) <= calibrationSteps; {
		start := time.Now()
		if _, err := t.Step(data, 0); err != nil {
			return nil, err
		}
		steps = append(steps, time.Since(start).Seconds())
		if len(steps) > 1 && time.Since(begun).Seconds() > calibrationSeconds {
			break
		}
	}
	steps = steps[1:] // the first makes what the others find
	slices.Sort(steps)
	mem := t.Memory()
	flops := train.TrainFLOPs(r.model, params.Count(), length, float64(mem.Checkpointed)/float64(max(1, mem.Blocks)))
	rate := flops * float64(args.PerDeviceTrainBatchSize*length) / steps[len(steps)/2]
	return p.duration(rate)
}

// duration is what the recipe takes at a rate of operations a second.
func (p *Planned) duration(rate float64) (*Duration, error) {
	rec, args := p.Recipe, &p.Args
	setup, err := p.Scaling()
	if err != nil {
		return nil, err
	}
	length := rec.Prepare.SequenceLength
	forward := train.ForwardFLOPs(p.run.model, length)
	flops := setup.FLOPs
	if p.objective.Spec().Reference {
		flops += forward
	}
	d := &Duration{StepTokens: args.PerDeviceTrainBatchSize * args.GradientAccumulationSteps * length,
		Without: []string{"preparing the input"}}
	d.StepSeconds = flops * float64(d.StepTokens) / rate
	d.PerSecond = float64(d.StepTokens) / d.StepSeconds
	if args.MaxSteps > 0 {
		d.Steps, d.Training = args.MaxSteps, float64(args.MaxSteps)*d.StepSeconds
		if args.Mode == "sync" {
			d.Training *= float64(args.Replicas) // of one machine
		}
	} else {
		d.Without = append(d.Without, "how many steps the epochs have, which the data says")
	}
	if e := &rec.Evaluate; e.MaxSequences > 0 {
		sets := 1
		if len(rec.Data.GeneralInput) > 0 {
			sets++
		}
		d.Scoring = 2 * float64(sets*e.MaxSequences*length) * forward / rate
	} else {
		d.Without = append(d.Without, "scoring all held-out text")
	}
	if rec.Evaluate.MaxNewTokens > 0 || rec.Train.Samples() {
		d.Without = append(d.Without, "answers that are sampled")
	}
	return d, nil
}

// Table prints the time for a person.
func (d *Duration) Table(w io.Writer) {
	fmt.Fprintf(w, "  a step takes %s: %d tokens, %.0f a second, measured now on this machine\n",
		report.Clock(d.StepSeconds), d.StepTokens, d.PerSecond)
	if d.Training > 0 {
		fmt.Fprintf(w, "  training takes about %s: %d steps\n", report.Clock(d.Training), d.Steps)
	}
	if d.Scoring > 0 {
		fmt.Fprintf(w, "  scoring before and after takes at most %s\n", report.Clock(d.Scoring))
	}
	without := ""
	for i, s := range d.Without {
		if i > 0 {
			without += "; "
		}
		without += s
	}
	fmt.Fprintf(w, "  this leaves out: %s\n", without)
}

// randomSequences are sequences of random tokens, each a document.
func randomSequences(n, length, vocab int) train.Sequences {
	key := philox.NewKey(1, "plan", "tokens")
	out := make(train.Sequences, n)
	for i := range out {
		s := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(i)}, DocSpans: [][2]int32{{0, 0}}, Sources: []string{""}}
		for k := range length {
			s.InputIDs = append(s.InputIDs, int32(key.At(uint64(i), uint64(k))[0]%uint32(vocab)))
		}
		s.Labels = slices.Clone(s.InputIDs)
		s.Labels[0] = datasets.NoLoss
		out[i] = s
	}
	return out
}
