package run

import (
	"fmt"
	"io"
	"slices"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
	"github.com/adaptflow/adaptflow/transforms/rollouts"
)

// Plan is the memory that training will take, in bytes.
type Plan struct {
	Weights      int64 `json:"weights"`
	Streamed     int64 `json:"streamed_per_step,omitempty"` // of streamed weights, what a step reads from the file: see [Plan.Table]
	Activations  int64 `json:"activations"`                 // and their gradients
	Scratch      int64 `json:"scratch"`                     // of operations and kernels
	Adapter      int64 `json:"adapter"`                     // values and gradients
	Optimizer    int64 `json:"optimizer"`
	Teachers     int64 `json:"teachers,omitempty"`  // of distillation: weights, programs and what tokens should predict
	Reference    int64 `json:"reference,omitempty"` // of preferences: a copy of the adapter that training starts from, or that follows it
	Rollouts     int64 `json:"rollouts,omitempty"`  // of answers that are sampled: their program and its KV cache, at the longest they may be
	Runtime      int64 `json:"runtime"`
	Peak         int64 `json:"peak"`
	Trainable    int   `json:"trainable_parameters"`
	Total        int64 `json:"total_parameters"`
	Checkpointed int   `json:"checkpointed_blocks"`
	Blocks       int   `json:"blocks"`

	// Chosen are the settings that were left to the model.
	Chosen []recipe.Choice `json:"chosen,omitempty"`
	// Time is nil where it was not measured; Untimed says then why.
	Time    *Duration `json:"time,omitempty"`
	Untimed string    `json:"time_error,omitempty"`
}

// MakePlan computes the memory of a recipe's training without running a step. It fails when the recipe's memory_limit cannot hold it.
func MakePlan(rec *recipe.Recipe) (*Plan, error) { return makePlan(rec, false) }

// MakeTimedPlan is [MakePlan] with the time, for which it takes a few steps.
func MakeTimedPlan(rec *recipe.Recipe) (*Plan, error) { return makePlan(rec, true) }

func makePlan(rec *recipe.Recipe, timed bool) (*Plan, error) {
	p, err := Compile(rec)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	out := p.plan()
	out.Chosen = p.run.Chosen
	if !timed {
		return out, nil
	}
	if out.Time, err = p.Measure(); err != nil {
		out.Untimed = err.Error()
	}
	return out, nil
}

// Planned is the program of a recipe's training, which is compiled and never run.
type Planned struct {
	Recipe *recipe.Recipe
	Args   train.Args
	Params *nn.Params

	run       *Run
	memory    nn.Memory
	adapter   *peft.Adapter
	objective train.Objective
	beside    train.Cost // of the objective
	rollouts  nn.Memory  // of what samples answers
}

// Close frees the program.
func (p *Planned) Close() {
	p.Params.Free()
	train.CloseObjective(p.objective)
	p.run.release()
}

// Vocab is the size of the model's vocabulary.
func (p *Planned) Vocab() int { return p.run.model.Config.Vocab }

// Job is the training job of the recipe over shards, in an output folder.
func (p *Planned) Job(output string, shards ...prepare.ShardRef) (train.Job, error) {
	p.run.Output = output
	return p.run.Job(&Data{Train: &prepare.Result{Train: shards}})
}

// Compile compiles the program that one worker of a recipe's training runs.
func Compile(rec *recipe.Recipe) (_ *Planned, err error) {
	dir, err := assets.Model(rec.Model.Path, nil)
	if err != nil {
		return nil, err
	}
	dtype := train.ResolveDType(rec.Model.Storage())
	r := &Run{Recipe: rec, modelDir: dir, dtype: dtype}
	if count := headOf(rec).classes; count != nil {
		n, err := count(rec)
		if err != nil {
			return nil, err
		}
		r.classes = make([]string, n)
	}
	if err := r.findEmbeddings(); err != nil {
		return nil, err
	}
	r.adopt()
	if err := r.hold(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	if err := r.settle(); err != nil {
		return nil, err
	}
	rec = r.Recipe
	m := r.model
	a, err := r.Adapter(rec.Train.InitAdapter)
	if err != nil {
		return nil, err
	}
	if err := fits(a, rec.Prepare.SequenceLength, m.Config.MaxPositions); err != nil {
		return nil, err
	}
	limit, err := rec.Model.Limit()
	if err != nil {
		return nil, err
	}
	objective, err := r.openObjective(m)
	if err != nil {
		return nil, err
	}
	beside := train.CostOf(objective, m, rec.Prepare.SequenceLength)
	if limit, err = train.ProgramLimit(limit, train.ProcessBytes(m), m, beside); err != nil {
		train.CloseObjective(objective)
		return nil, err
	}
	t := rec.Train.PerDeviceTrainBatchSize * rec.Prepare.SequenceLength
	out := &Planned{Recipe: rec, run: r, Args: r.Args(), Params: nn.NewParams(1), adapter: a, objective: objective, beside: beside}
	defer func() {
		if err != nil {
			out.Close()
		}
	}()
	args, params := &out.Args, out.Params
	if err := args.Validate(); err != nil {
		return nil, err
	}
	if err := train.Trainable(args, a); err != nil {
		return nil, err
	}
	if _, err := train.Freeze(args, []nn.Adapter{a}, params); err != nil {
		return nil, err
	}
	p, err := nn.Compile(m, []nn.Adapter{a}, params, nn.Options{Mode: nn.ModeTrain, MemoryLimit: limit, Dry: true,
		Caps:   nn.Caps{T: t, S: t, N: train.Documents(objective, a, t, rec.Train.PerDeviceTrainBatchSize)},
		Beside: func() int64 { return train.HeldOptimizerBytes(args, params) }, DType: train.Values(dtype)})
	if err != nil {
		return nil, err
	}
	out.memory = p.Memory()
	p.Close()
	return out, out.planRollouts()
}

// planRollouts plans what samples the answers that are trained on, where some are: with the program of the training, which stays.
func (p *Planned) planRollouts() error {
	t := &p.Recipe.Train
	j := train.Job{Args: p.Args, NamedObjective: t.NamedObjective}
	o, err := j.Online()
	if err != nil || o == nil {
		return err
	}
	threads := pool.New(0)
	defer threads.Close()
	m := &infer.Model{Base: p.run.model, Adapters: []nn.Adapter{p.adapter}, Params: p.Params, Pool: threads}
	longest := p.Recipe.Prepare.SequenceLength / max(1, o.Documents)
	p.rollouts, err = m.PlanAnswers(longest, (o.Prompts+o.Parts()-1)/o.Parts()*o.N, rollouts.CacheBytes)
	return err
}

func (p *Planned) plan() *Plan {
	m, mem, params := p.run.model, p.memory, p.Params
	out := &Plan{Weights: m.Resident(), Streamed: (streamedPerStep(m.Streamed(), mem.Checkpointed, mem.Blocks) +
		p.beside.Streamed) * int64(p.Recipe.Train.GradientAccumulationSteps),
		Activations: mem.Arena, Scratch: mem.Scratch + mem.Kernels, Adapter: mem.Params + mem.Grads,
		Optimizer: train.HeldOptimizerBytes(&p.Args, params), Runtime: train.ProcessBytes(m),
		Trainable: params.Count(), Total: p.adapter.Total(m.ParamCount()), Checkpointed: mem.Checkpointed, Blocks: mem.Blocks}
	out.Teachers = p.beside.Weights + p.beside.Work
	out.Reference = train.ReferenceBytes(p.objective, p.Recipe.Train.InitAdapter, params)
	out.Rollouts = p.rollouts.Total()
	out.Peak = out.Rollouts +
		out.Reference + out.Weights + out.Activations + out.Scratch + out.Adapter + out.Optimizer + out.Teachers + out.Runtime
	return out
}

// streamedPerStep is what a forward and a backward pass read of weights that are streamed: each matrix once a pass, and again where a block
// is computed anew.
func streamedPerStep(weights int64, checkpointed, blocks int) int64 {
	return 2*weights + weights*int64(checkpointed)/int64(max(1, blocks))
}

// Table prints the plan for a person.
func (p *Plan) Table(w io.Writer) {
	for _, r := range []struct {
		name string
		n    int64
	}{{"frozen weights", p.Weights}, {"activations and their gradients", p.Activations}, {"scratch", p.Scratch},
		{"adapter and its gradients", p.Adapter},
		{"optimiser", p.Optimizer}, {"teachers", p.Teachers}, {"reference adapter", p.Reference},
		{"sampling of answers", p.Rollouts},
		{"program and runtime", p.Runtime}, {"peak", p.Peak}} {
		if r.n > 0 || !slices.Contains([]string{"teachers", "reference adapter", "sampling of answers"}, r.name) {
			fmt.Fprintf(w, "  %-32s %8.1f MiB\n", r.name, float64(r.n)/(1<<20))
		}
	}
	for _, c := range p.Chosen {
		fmt.Fprintf(w, "  %s\n", c)
	}
	fmt.Fprintf(w, "  %d of %d parameters are trained; %d of %d blocks are computed again in the backward pass\n", p.Trainable, p.Total,
		p.Checkpointed, p.Blocks)
	if p.Streamed > 0 {
		gib := float64(p.Streamed) / (1 << 30)
		fmt.Fprintf(w, "  a step reads %.2f GiB of streamed weights: %.1f s from a disk of 1 GiB/s, %.1f s from one of 200 MiB/s, and no "+
			"time where memory that is free holds the file\n", gib, gib, gib*1024/200)
	}
	if p.Time != nil {
		p.Time.Table(w)
	}
	if p.Untimed != "" {
		fmt.Fprintf(w, "  the time was not measured: %s\n", p.Untimed)
	}
}
