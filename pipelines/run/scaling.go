package run

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
)

// defaultConstants is what `adaptflow bench scaling --calibrate --constants pipelines/run/scaling.json` wrote on the machine that it names.
//
//go:embed scaling.json
var defaultConstants []byte

// ReadConstants reads the constants of the scaling model from a file, or the built-in ones where path is empty.
func ReadConstants(path string) (*train.Constants, error) {
	raw, name := defaultConstants, "the built-in constants"
	if path != "" {
		var err error
		if raw, err = storage.ReadSmall(path, storage.KindConfig); err != nil {
			return nil, err
		}
		name = path
	}
	var c train.Constants
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%s is not what bench scaling --calibrate wrote: %w", name, err)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &c, nil
}

// ScalingPlan is a recipe's training with several numbers of workers.
type ScalingPlan struct {
	Constants *train.Constants `json:"constants"`
	FLOPs     float64          `json:"flops_per_token"`
	Trainable int              `json:"trainable_parameters"`
	Plans     []*train.Scaling `json:"workers"`
}

// MakeScaling computes what a recipe's training takes with each number of workers, without running a step. The recipe has several replicas,
// as its mode and its shards ask for; how many does not matter.
func MakeScaling(rec *recipe.Recipe, c *train.Constants, workers []int) (*ScalingPlan, error) {
	p, err := Compile(rec)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	setup, err := p.Scaling()
	if err != nil {
		return nil, err
	}
	out := &ScalingPlan{Constants: c, FLOPs: setup.FLOPs, Trainable: p.Params.Count()}
	out.Plans, err = setup.ScaleAll(c, workers)
	return out, err
}

// Scaling is the setup of the scaling model.
func (p *Planned) Scaling() (*train.ScalingSetup, error) {
	m, mem := p.run.model, p.memory
	method := 0
	if s, ok := p.adapter.Method.(peft.Stepper); ok {
		raw, err := s.State()
		if err != nil {
			return nil, err
		}
		method = len(raw)
	}
	weights := m.Resident() + p.beside.Weights
	share := float64(mem.Checkpointed) / float64(max(1, mem.Blocks))
	return &train.ScalingSetup{Args: p.Args, Params: p.Params, Method: method, SequenceLength: p.Recipe.Prepare.SequenceLength,
		FLOPs:   train.TrainFLOPs(m, p.Params.Count(), p.Recipe.Prepare.SequenceLength, share) + p.beside.FLOPs,
		Weights: weights, Loaded: weights, Program: mem.Arena + mem.Scratch + mem.Params + mem.Grads + p.beside.Work}, nil
}

// Table prints the plan for a person.
func (p *ScalingPlan) Table(w io.Writer) {
	c := p.Constants
	fmt.Fprintf(w, "  %s; %d threads a worker\n", c.Machine, c.Threads)
	fmt.Fprintf(w, "  %d parameters are trained; %.3g operations a token, %.0f tokens/s a worker\n\n", p.Trainable,
		p.FLOPs, c.FLOPS/p.FLOPs)
	fmt.Fprintf(w, "  %7s %7s %9s %9s %9s %9s %9s %9s %9s %9s %9s %6s\n", "workers", "rounds", "a round,", "compute,", "combine,", "run,",
		"tokens/s", "a round,", "run,", "worker,", "driver,", "effi-")
	fmt.Fprintf(w, "  %7s %7s %9s %9s %9s %9s %9s %9s %9s %9s %9s %6s\n", "", "", "s", "s", "s", "s", "", "MB", "GB",
		"MiB", "MiB", "ciency")
	for _, s := range p.Plans {
		fmt.Fprintf(w, "  %7d %7d %9.3f %9.3f %9.3f %9.0f %9.0f %9.2f %9.3f %9.0f %9.0f %5.0f%%\n", s.Workers, s.Rounds, s.Round.Seconds,
			s.Round.Compute, s.Round.Combine, s.Seconds, s.PerSecond,
			float64(s.Round.Sent+s.Round.Read)/1e6, float64(s.Sent+s.Read)/1e9, float64(s.Worker.Memory)/(1<<20),
			float64(s.Driver.Memory)/(1<<20), 100*s.Efficiency)
	}
}
