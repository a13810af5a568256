// Package bench measures this machine: kernels, tokenizing, preparing, training, rounds of several replicas. Each measurement is a function
// from its settings to its result; what needs a process of its own takes how one is started (see [Program]).
package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// TrainConfig says what `adaptflow bench train` measures: optimiser steps on random weights and tokens.
type TrainConfig struct {
	ConfigPath  string // config.json of the shape, for random weights; or a model folder
	Method      string
	Options     map[string]any // of the method; nil means the rank on all linears
	Rank        int
	DType       string // fp32, bf16 or auto, also with +nf4 and the like
	Batch       int
	Seq         int
	Steps       int
	Warmup      int
	Threads     int // 0: all
	Checkpoint  nn.CheckpointMode
	MemoryLimit int64 // bytes of the whole process; 0 for none

	Shards       string  // glob of packed shards to train on in place of random tokens; Seq is then theirs
	LearningRate float64 // 0 means 1e-4
	OneBatch     bool    // every step trains on the same sequences, so that the loss shows what the method learns
}

// TrainResult is what was measured. PeakRSS is the high-water mark of the whole process from its start.
type TrainResult struct {
	// of the median step; over shards, of all measured steps, none of which has padding
	TokensPerSecond float64   `json:"tokens_per_second"`
	Tokens          int       `json:"tokens"` // of the measured steps
	PeakRSS         int64     `json:"peak_rss_bytes"`
	StepSeconds     []float64 `json:"step_seconds"`
	Loss            float64   `json:"loss"` // of the last step
	DType           string    `json:"dtype"`
	KernelSet       string    `json:"kernel_set"`
	Threads         int       `json:"threads"`
	Trainable       int       `json:"trainable_parameters"`
	Total           int64     `json:"total_parameters"`
	State           int64     `json:"trainable_state_bytes"` // of the trained parameters: values, gradients and the optimiser's state
	// of the whole process, as adaptflow plan has it, to hold against peak_rss_bytes
	Planned int64 `json:"planned_bytes"`
}

// benchDTypes are the short names that measurements use.
var benchDTypes = map[string]string{"": "float32", "fp32": "float32", "bf16": "bfloat16", "auto": "auto"}

// benchDType is the dtype of a measurement's name for one, such as bf16+nf4@mapped.
func benchDType(name string) (string, error) {
	values, place, placed := strings.Cut(name, "@")
	dense, linear, quantised := strings.Cut(values, "+")
	dtype, ok := benchDTypes[dense]
	if !ok {
		return "", fmt.Errorf("dtype %q: choose fp32, bf16 or auto, or one of them with +nf4, +nf4_dq, +fp4, +fp4_dq or +int8", name)
	}
	if quantised {
		dtype += "+" + linear
	}
	if placed {
		dtype += "@" + place
	}
	return train.ResolveDType(dtype), nil
}

// Train trains a model of random weights for a few steps and measures them.
func Train(c TrainConfig) (*TrainResult, error) {
	dtype, err := benchDType(c.DType)
	if err != nil {
		return nil, err
	}
	m, err := benchModel(c.ConfigPath, dtype)
	if err != nil {
		return nil, err
	}
	limit, err := train.ProgramLimit(c.MemoryLimit, train.BareProcessBytes, m, train.Cost{})
	if err != nil {
		return nil, err
	}
	params := nn.NewParams(1)
	defer params.Free()
	options := c.Options
	if options == nil {
		options = map[string]any{"r": c.Rank, "lora_alpha": 2 * c.Rank, "target_modules": "all-linear"}
	}
	a, err := peft.New(c.Method, options, nn.Sites(m), peft.Env{ModelType: m.Config.ModelType})
	if err != nil {
		return nil, err
	}
	p := pool.New(c.Threads)
	defer p.Close()
	args := train.DefaultArgs()
	args.PerDeviceTrainBatchSize, args.MaxSteps, args.LearningRate, args.LRSchedulerType, args.Stride = c.Batch, c.Warmup+c.Steps,
		1e-4, "constant", 1
	if c.LearningRate > 0 {
		args.LearningRate = c.LearningRate
	}
	var data train.Data
	if c.Shards != "" {
		shards, err := benchShards(c.Shards)
		if err != nil {
			return nil, err
		}
		defer shards.Close()
		data, c.Seq, args.Stride = shards, shards.SequenceLength(), Stride
	} else {
		data = c.randomTokens(m.Config.Vocab)
	}
	t, err := train.NewTrainer(args, train.Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p, SequenceLength: c.Seq,
		Sequences:  data.Len(),
		Checkpoint: c.Checkpoint, MemoryLimit: limit, DType: train.Values(dtype)})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	r := &TrainResult{DType: dtype, KernelSet: kernels.Active().String(), Threads: p.Threads(), Trainable: params.Count(),
		Total:   a.Total(m.ParamCount()),
		State:   t.Memory().Params + t.Memory().Grads + t.OptimizerBytes(),
		Planned: m.Resident() + t.Memory().Total() + t.OptimizerBytes() + train.BareProcessBytes}
	for i := range c.Warmup + c.Steps {
		start := time.Now()
		info, err := t.Step(data, 0)
		if err != nil {
			return nil, err
		}
		if i >= c.Warmup {
			r.StepSeconds = append(r.StepSeconds, time.Since(start).Seconds())
			r.Tokens += info.Tokens
		}
		r.Loss = info.Loss
	}
	sorted := slices.Sorted(slices.Values(r.StepSeconds))
	r.TokensPerSecond = float64(c.Batch*c.Seq) / sorted[len(sorted)/2]
	if c.Shards != "" {
		r.TokensPerSecond = float64(r.Tokens) / sum(sorted)
	}
	r.PeakRSS, err = mem.Peak()
	return r, err
}

// Stride is the distance of the sequences that a measurement over shards takes one after another, so that those of a step are not of like
// length.
const Stride = 1009

func benchModel(path, dtype string) (*model.Model, error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return model.LoadAs(path, dtype)
	}
	raw, err := storage.ReadSmall(path, storage.KindConfig)
	if err != nil {
		return nil, err
	}
	m, err := model.FromConfig(raw, 0, dtype)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func benchShards(glob string) (*train.Shards, error) {
	paths, err := storage.Glob(glob)
	if err != nil {
		return nil, err
	}
	s, err := train.OpenShards(paths)
	if err != nil {
		return nil, err
	}
	if s.Len()%Stride == 0 {
		s.Close()
		return nil, fmt.Errorf("%s: the shards hold a multiple of %d sequences, of which the measurement would take few: prepare some "+
			"more or fewer rows", glob, Stride)
	}
	return s, nil
}

// randomTokens are the sequences of all steps, or of one where OneBatch says so.
func (c *TrainConfig) randomTokens(vocab int) train.Sequences {
	n := c.Batch * (c.Warmup + c.Steps)
	if c.OneBatch {
		n = c.Batch
	}
	key := philox.NewKey(1, "bench", "tokens")
	data := make(train.Sequences, n)
	for i := range data {
		s := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(i)}, DocSpans: [][2]int32{{0, 0}}, Sources: []string{""}}
		for k := range c.Seq {
			s.InputIDs = append(s.InputIDs, int32(key.At(uint64(i), uint64(k))[0]%uint32(vocab)))
		}
		s.Labels = slices.Clone(s.InputIDs)
		s.Labels[0] = datasets.NoLoss
		data[i] = s
	}
	return data
}

func sum(x []float64) (s float64) {
	for _, v := range x {
		s += v
	}
	return s
}
