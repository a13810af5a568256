package train

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/internal/settings"
)

// Args are the training settings, with the names and defaults of Hugging Face TrainingArguments where they exist there: the keys of a
// recipe's section train, but for what a [Job] names beside them. What the tags say of a setting is checked, listed and described from
// there: see package settings.
type Args struct {
	LearningRate float64 `yaml:"learning_rate" json:"learning_rate" bounds:"[0,)" help:"peak learning rate; auto in a recipe: by method, objective and size of the model"`
	WeightDecay  float64 `yaml:"weight_decay" json:"weight_decay" bounds:"[0,)" help:"decoupled weight decay"`
	// DecayAll decays biases and norms too.
	DecayAll    bool    `yaml:"-" json:"decay_all,omitempty"`
	AdamBeta1   float64 `yaml:"adam_beta1" json:"adam_beta1" bounds:"[0,1)" help:"AdamW's beta 1"`
	AdamBeta2   float64 `yaml:"adam_beta2" json:"adam_beta2" bounds:"[0,1)" help:"AdamW's beta 2"`
	AdamEpsilon float64 `yaml:"adam_epsilon" json:"adam_epsilon" bounds:"(0,)" help:"AdamW's epsilon"`
	MaxGradNorm float64 `yaml:"max_grad_norm" json:"max_grad_norm" bounds:"[0,)" help:"gradients are clipped to this norm; 0 does not clip"`
	Optim       string  `yaml:"optim" json:"optim" help:"optimiser"`
	// OptimArgs and LoraPlusLRRatio: see the optimisers.
	OptimArgs         string         `yaml:"optim_args" json:"optim_args,omitempty" help:"settings of the optimiser, as key=value,key=value"`
	LoraPlusLRRatio   float64        `yaml:"loraplus_lr_ratio" json:"loraplus_lr_ratio,omitempty" bounds:"[0,)" help:"LoRA+: learning rate of lora_B over that of lora_A; 0 for the same"`
	LRSchedulerKwargs map[string]any `yaml:"lr_scheduler_kwargs" json:"lr_scheduler_kwargs,omitempty" help:"settings of the schedule, such as {num_cycles: 3}"`
	LRSchedulerType   string         `yaml:"lr_scheduler_type" json:"lr_scheduler_type" help:"learning-rate schedule"`
	WarmupSteps       int            `yaml:"warmup_steps" json:"warmup_steps" bounds:"[0,)" help:"steps of linear warm-up"`
	WarmupRatio       float64        `yaml:"warmup_ratio" json:"warmup_ratio" bounds:"[0,1]" help:"warm-up as a share of all steps, when warmup_steps is 0"`
	MaxSteps          int            `yaml:"max_steps" json:"max_steps" bounds:"[1,1000000000]" or:"-1" unset:"true" help:"optimiser steps; -1 leaves it to num_train_epochs"`
	NumTrainEpochs    float64        `yaml:"num_train_epochs" json:"num_train_epochs" bounds:"[0,1000000]" help:"passes over the data when max_steps is -1"`
	// PerDeviceTrainBatchSize counts the sequences of a micro-batch, GradientAccumulationSteps the micro-batches of a step and replica.
	PerDeviceTrainBatchSize   int `yaml:"per_device_train_batch_size" json:"per_device_train_batch_size" bounds:"[1,1048576]" help:"packed sequences of one pass"`
	GradientAccumulationSteps int `yaml:"gradient_accumulation_steps" json:"gradient_accumulation_steps" bounds:"[1,1048576]" help:"passes of one optimiser step"`
	LoggingSteps              int `yaml:"logging_steps" json:"logging_steps" bounds:"[1,)" help:"a line of progress each so many steps"`
	EvalSteps                 int `yaml:"eval_steps" json:"eval_steps" bounds:"[0,)" help:"evaluation each so many steps; 0 for none in between"`
	SaveSteps                 int `yaml:"save_steps" json:"save_steps" bounds:"[1,)" help:"checkpoint each so many steps"`
	// SaveTotalLimit: 0, in Go, keeps all.
	SaveTotalLimit        int    `yaml:"save_total_limit" json:"save_total_limit" bounds:"[1,)" unset:"true" help:"checkpoints kept; the newest and the best always are"`
	LoadBestModelAtEnd    bool   `yaml:"load_best_model_at_end" json:"load_best_model_at_end" help:"export the checkpoint of lowest eval_loss rather than the last"`
	EarlyStoppingPatience int    `yaml:"early_stopping_patience" json:"early_stopping_patience" bounds:"[0,)" help:"stop after so many evaluations without improvement; 0 never"`
	Seed                  uint64 `yaml:"seed" json:"seed" help:"seed of initial values, order and dropout"`

	// SharedPrompts is SharedAuto, or off; a job of before has neither.
	SharedPrompts string `yaml:"shared_prompts" json:"shared_prompts,omitempty" since:"0.2" unset:"true" enum:"auto,off" help:"whether a prompt that answers of a batch have in common, such as a chosen and a rejected one, is computed once: auto where that gives the same log-probabilities, which dropout does not; off never"`

	Replicas int    `yaml:"replicas" json:"replicas" bounds:"[1,65536]" help:"workers that train together"`
	Mode     string `yaml:"mode" json:"mode" help:"how replicas work together" enum:"sync,local"`
	// LocalSteps is H, the inner steps of a local round; OuterLearningRate and OuterMomentum are those of DiLoCo's Nesterov optimiser.
	LocalSteps        int     `yaml:"local_steps" json:"local_steps" bounds:"[1,)" help:"steps each replica takes alone in mode local"`
	OuterLearningRate float64 `yaml:"outer_learning_rate" json:"outer_learning_rate" alias:"outer_lr" bounds:"(0,)" help:"learning rate of the outer optimiser in mode local"`
	OuterMomentum     float64 `yaml:"outer_momentum" json:"outer_momentum" bounds:"[0,1)" help:"Nesterov momentum of the outer optimiser in mode local"`
	// Compression is how what replicas send is written, a row of the table of compressions.
	Compression     string `yaml:"compression" json:"compression,omitempty" unset:"true" help:"how what replicas send in a round is written; what is lost is sent in later rounds (error feedback)"`
	CompressionArgs string `yaml:"compression_args" json:"compression_args,omitempty" help:"settings of the compression, as density=0.01 of topk or block_size=256 of int8"`
	// DropLateAfter, above 0, drops a replica from a round that has not done its share so many seconds after it began, where at least
	// MinReplicas have.
	DropLateAfter float64 `yaml:"drop_late_after" json:"drop_late_after,omitempty" bounds:"[0,)" help:"seconds after which a replica that has not done its share of a round gives it up; 0 never"`
	MinReplicas   int     `yaml:"min_replicas" json:"min_replicas,omitempty" bounds:"[1,65536]" unset:"true" help:"replicas that must contribute to a round where late ones are dropped"`
	// OptimizerShards, above 1, shards the optimiser's state by parameter: a worker of a sync round holds one shard of it.
	OptimizerShards int `yaml:"optimizer_shards" json:"optimizer_shards,omitempty" bounds:"[1,65536]" unset:"true" help:"shards, by parameter, of the optimiser's state in mode sync: a worker holds one at a time; it changes no result"`
	// Stride replaces the seeded permutation: the batch of step s is the sequences ((s·batch + j)·stride) mod n. 0 for the permutation.
	Stride int `yaml:"-" json:"stride,omitempty"`
	// DataloaderDropLast leaves out an epoch's last batch where it is not full. Order is OrderWrapped or OrderEpochs.
	DataloaderDropLast bool `yaml:"dataloader_drop_last" json:"dataloader_drop_last,omitempty" help:"leave out the last batch of an epoch where it is not full"`
	Order              int  `yaml:"-" json:"order,omitempty"`
}

// Choices are the rows of the tables that settings name.
func (*Args) Choices() map[string][]string {
	return map[string][]string{"optim": Optimizers(), "lr_scheduler_type": Schedules(), "compression": Compressions()}
}

// DefaultArgs are Hugging Face's defaults, with one replica.
func DefaultArgs() Args {
	return Args{LearningRate: 5e-5, AdamBeta1: 0.9, AdamBeta2: 0.999, AdamEpsilon: 1e-8, MaxGradNorm: 1, Optim: "adamw_torch",
		LRSchedulerType: "linear",
		NumTrainEpochs:  3, PerDeviceTrainBatchSize: 8, GradientAccumulationSteps: 1, LoggingSteps: 10, SaveSteps: 100, SaveTotalLimit: 2,
		Seed:          42,
		SharedPrompts: SharedAuto,
		Replicas:      1, Mode: "sync", LocalSteps: 50, OuterLearningRate: 0.7, OuterMomentum: 0.9, Order: OrderEpochs}
}

// SharedAuto has prompts computed once where that is possible: see [Args].
const SharedAuto = "auto"

// mostSequences bounds the sequences of an optimiser step, whose tokens are then countable.
const mostSequences = 1 << 31

// Validate says what is wrong with the settings, naming the key: a [settings.Error] where it is one setting's value.
func (a *Args) Validate() error {
	if err := settings.CheckSet(a); err != nil {
		return err
	}
	if err := a.Consistent(); err != nil {
		return err
	}
	if a.Stride < 0 {
		return fmt.Errorf("train: stride must be at least 0")
	}
	if a.Order != OrderWrapped && a.Order != OrderEpochs {
		return fmt.Errorf("train: order must be 0 or 1: the run is of a newer version of the program")
	}
	return nil
}

// Consistent says which of the settings, each within its bounds, does not go with the others: settings of the optimiser, the schedule and
// the compression are those of the rows that are named.
func (a *Args) Consistent() error {
	if n := float64(a.PerDeviceTrainBatchSize) * float64(a.GradientAccumulationSteps) * float64(a.Replicas); n > mostSequences {
		return settings.Wrong(a, "per_device_train_batch_size",
			fmt.Sprintf("may make, with gradient_accumulation_steps %d and replicas %d, at most %d sequences of a step: "+
				"the product of the three", a.GradientAccumulationSteps, a.Replicas, mostSequences))
	}
	for _, c := range []struct {
		key string
		ok  bool
		why string
	}{
		{"num_train_epochs", a.MaxSteps > 0 || a.NumTrainEpochs > 0, "must be above 0, or max_steps must be"},
		{"early_stopping_patience", a.EarlyStoppingPatience == 0 || a.EvalSteps > 0, "needs eval_steps above 0"},
		{"load_best_model_at_end", !a.LoadBestModelAtEnd || a.EvalSteps > 0, "needs eval_steps above 0"},
		{"load_best_model_at_end", !a.LoadBestModelAtEnd || a.SaveSteps%max(a.EvalSteps, 1) == 0 || a.EvalSteps%a.SaveSteps == 0,
			"needs save_steps to be a multiple of eval_steps, or the reverse"},
		{"min_replicas", a.MinReplicas <= a.Replicas, "must be from 1 to replicas"},
		{"optimizer_shards", a.OptimizerShards <= 1 || a.Mode == "sync" && a.Replicas > 1,
			"must be 1 but in mode sync with several replicas, where there is one optimiser"},
		{"dataloader_drop_last", !a.DataloaderDropLast || !a.wraps(),
			"goes with epochs that end with a batch of their own, not with a stride or a run of an earlier version"},
	} {
		if !c.ok {
			return settings.Wrong(a, c.key, c.why)
		}
	}
	optimizer := optimizerByName(a.Optim)
	if _, err := optimizer.options.with("optim_args", a.Optim, a.OptimArgs); err != nil {
		return err
	}
	if a.LoraPlusLRRatio > 0 && optimizer.pair != nil {
		return fmt.Errorf("train: loraplus_lr_ratio is B's learning rate over A's, and optim %s freezes A: leave one of them out", a.Optim)
	}
	if _, err := scheduleByName(a.LRSchedulerType).kwargs(a.LRSchedulerKwargs); err != nil {
		return err
	}
	_, err := a.codec()
	return err
}

// Warmup is the number of warm-up steps of a run of the given length; warmup_steps goes before warmup_ratio.
func (a *Args) Warmup(steps int) int {
	if a.WarmupSteps > 0 {
		return a.WarmupSteps
	}
	return int(math.Ceil(a.WarmupRatio * float64(steps)))
}
