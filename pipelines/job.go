package pipelines

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/kernels"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

func refs(shards []prepare.ShardRef) []core.ShardRef {
	var out []core.ShardRef
	for _, s := range shards {
		out = append(out, core.ShardRef{Path: s.Path, SHA256: s.SHA256})
	}
	return out
}

// args are the recipe's settings of training.
func (r *Run) args() core.Args {
	t := r.Recipe.Train
	order := core.OrderEpochs
	if r.begunBefore {
		order = core.OrderWrapped
	}
	return core.Args{LearningRate: t.LearningRate, WeightDecay: t.WeightDecay, AdamBeta1: t.AdamBeta1, AdamBeta2: t.AdamBeta2,
		AdamEpsilon: t.AdamEpsilon, MaxGradNorm: t.MaxGradNorm, Optim: t.Optim, OptimArgs: t.OptimArgs, LoraPlusLRRatio: t.LoraPlusLRRatio,
		LRSchedulerKwargs: t.LRSchedulerKwargs, LRSchedulerType: t.LRSchedulerType, WarmupSteps: t.WarmupSteps,
		WarmupRatio: t.WarmupRatio, MaxSteps: t.MaxSteps, NumTrainEpochs: t.NumTrainEpochs, PerDeviceTrainBatchSize: t.PerDeviceTrainBatchSize,
		GradientAccumulationSteps: t.GradientAccumulationSteps, LoggingSteps: t.LoggingSteps, EvalSteps: t.EvalSteps, SaveSteps: t.SaveSteps,
		SaveTotalLimit: t.SaveTotalLimit, LoadBestModelAtEnd: t.LoadBestModelAtEnd, EarlyStoppingPatience: t.EarlyStoppingPatience, Seed: t.Seed,
		Replicas: t.Replicas, Mode: t.Mode, LocalSteps: t.LocalSteps, OuterLearningRate: t.OuterLR, OuterMomentum: t.OuterMomentum,
		Compression: t.Compression, CompressionArgs: t.CompressionArgs, DropLateAfter: t.DropLateAfter, MinReplicas: t.MinReplicas, OptimizerShards: t.OptimizerShards,
		DataloaderDropLast: t.DataloaderDropLast, Order: order}
}

// Job is the training job of the recipe over prepared data.
func (r *Run) Job(d *Data) (core.Job, error) {
	t := r.Recipe.Train
	limit, err := r.Recipe.Model.Limit()
	if err != nil {
		return core.Job{}, err
	}
	if d.domain != nil && len(d.Domain) == 0 && (t.LoadBestModelAtEnd || t.EarlyStoppingPatience > 0) {
		return core.Job{}, errors.New("train.load_best_model_at_end and early_stopping_patience go by the loss on eval_input, in which no token has one: " +
			"give other text")
	}
	name, _ := r.Recipe.Method["peft_type"].(string)
	config, err := r.methodConfig()
	if err != nil {
		return core.Job{}, err
	}
	var contributors map[int][]int
	if t.Contributors != "" {
		if contributors, err = core.ReadContributors(t.Contributors); err != nil {
			return core.Job{}, fmt.Errorf("train.contributors: %w", err)
		}
	}
	alpha := t.DistillationAlpha
	if len(r.teachers) == 0 {
		alpha = 0
	}
	return core.Job{Args: r.args(), Model: r.modelDir, Task: r.task(), DType: r.dtype, BaseName: r.baseName(), Method: name, Config: config, InitAdapter: t.InitAdapter, Train: refs(d.Train.Train), Validation: refs(d.Domain),
		Contributors: contributors, Teachers: r.teachers, DistillationAlpha: alpha,
		SequenceLength: r.Recipe.Prepare.SequenceLength, Dir: filepath.Join(r.Output, "checkpoints"), KernelSet: kernels.Active().String(), MemoryLimit: limit}, nil
}
