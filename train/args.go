package train

import (
	"fmt"
	"math"
	"strings"
)

// Args are the training settings, with the names and defaults of Hugging Face TrainingArguments where they exist there.
type Args struct {
	LearningRate              float64        `yaml:"learning_rate" json:"learning_rate"`
	WeightDecay               float64        `yaml:"weight_decay" json:"weight_decay"`
	DecayAll                  bool           `yaml:"decay_all,omitempty" json:"decay_all,omitempty"` // biases and norms too
	AdamBeta1                 float64        `yaml:"adam_beta1" json:"adam_beta1"`
	AdamBeta2                 float64        `yaml:"adam_beta2" json:"adam_beta2"`
	AdamEpsilon               float64        `yaml:"adam_epsilon" json:"adam_epsilon"`
	MaxGradNorm               float64        `yaml:"max_grad_norm" json:"max_grad_norm"` // 0 for no clipping
	Optim                     string         `yaml:"optim" json:"optim"`
	OptimArgs                 string         `yaml:"optim_args,omitempty" json:"optim_args,omitempty"`               // "key=value,key=value"
	LoraPlusLRRatio           float64        `yaml:"loraplus_lr_ratio,omitempty" json:"loraplus_lr_ratio,omitempty"` // LoRA+: lora_B's rate over lora_A's; 0 for 1
	LRSchedulerKwargs         map[string]any `yaml:"lr_scheduler_kwargs,omitempty" json:"lr_scheduler_kwargs,omitempty"`
	LRSchedulerType           string         `yaml:"lr_scheduler_type" json:"lr_scheduler_type"`
	WarmupSteps               int            `yaml:"warmup_steps" json:"warmup_steps"`
	WarmupRatio               float64        `yaml:"warmup_ratio" json:"warmup_ratio"`
	MaxSteps                  int            `yaml:"max_steps" json:"max_steps"` // 0 or less: from num_train_epochs
	NumTrainEpochs            float64        `yaml:"num_train_epochs" json:"num_train_epochs"`
	PerDeviceTrainBatchSize   int            `yaml:"per_device_train_batch_size" json:"per_device_train_batch_size"` // sequences of a micro-batch
	GradientAccumulationSteps int            `yaml:"gradient_accumulation_steps" json:"gradient_accumulation_steps"` // micro-batches of a step and replica
	LoggingSteps              int            `yaml:"logging_steps" json:"logging_steps"`
	EvalSteps                 int            `yaml:"eval_steps" json:"eval_steps"` // 0 for no evaluation while training
	SaveSteps                 int            `yaml:"save_steps" json:"save_steps"`
	SaveTotalLimit            int            `yaml:"save_total_limit" json:"save_total_limit"` // 0 keeps all
	LoadBestModelAtEnd        bool           `yaml:"load_best_model_at_end" json:"load_best_model_at_end"`
	EarlyStoppingPatience     int            `yaml:"early_stopping_patience" json:"early_stopping_patience"` // evaluations without a better one; 0 for never
	Seed                      uint64         `yaml:"seed" json:"seed"`

	Replicas int    `yaml:"replicas" json:"replicas"`
	Mode     string `yaml:"mode" json:"mode"` // of a round with several replicas: sync or local
	// LocalSteps is H, the inner steps of a local round; OuterLearningRate and OuterMomentum are those of DiLoCo's Nesterov optimiser.
	LocalSteps        int     `yaml:"local_steps" json:"local_steps"`
	OuterLearningRate float64 `yaml:"outer_learning_rate" json:"outer_learning_rate"`
	OuterMomentum     float64 `yaml:"outer_momentum" json:"outer_momentum"`
	// Compression is how what replicas send is written, a row of the table of compressions (none where empty), with its settings "key=value,key=value".
	Compression     string `yaml:"compression,omitempty" json:"compression,omitempty"`
	CompressionArgs string `yaml:"compression_args,omitempty" json:"compression_args,omitempty"`
	// DropLateAfter, above 0, drops a replica from a round that has not done its share so many seconds after it began, where at least MinReplicas have.
	DropLateAfter float64 `yaml:"drop_late_after,omitempty" json:"drop_late_after,omitempty"`
	MinReplicas   int     `yaml:"min_replicas,omitempty" json:"min_replicas,omitempty"`
	// OptimizerShards, above 1, shards the optimiser's state by parameter: a worker of a sync round holds one shard of it.
	OptimizerShards int `yaml:"optimizer_shards,omitempty" json:"optimizer_shards,omitempty"`
	// Stride replaces the seeded permutation: the batch of step s is the sequences ((s·batch + j)·stride) mod n. 0 for the permutation.
	Stride int `yaml:"stride,omitempty" json:"stride,omitempty"`
	// DataloaderDropLast leaves out an epoch's last batch where it is not full. Order is OrderWrapped or OrderEpochs.
	DataloaderDropLast bool `yaml:"dataloader_drop_last,omitempty" json:"dataloader_drop_last,omitempty"`
	Order              int  `yaml:"order,omitempty" json:"order,omitempty"`
}

// DefaultArgs are Hugging Face's defaults, with one replica.
func DefaultArgs() Args {
	return Args{LearningRate: 5e-5, AdamBeta1: 0.9, AdamBeta2: 0.999, AdamEpsilon: 1e-8, MaxGradNorm: 1, Optim: "adamw_torch", LRSchedulerType: "linear",
		NumTrainEpochs: 3, PerDeviceTrainBatchSize: 8, GradientAccumulationSteps: 1, LoggingSteps: 10, SaveSteps: 100, SaveTotalLimit: 2, Seed: 42,
		Replicas: 1, Mode: "sync", LocalSteps: 50, OuterLearningRate: 0.7, OuterMomentum: 0.9, Order: OrderEpochs}
}

// Validate says what is wrong with the settings, naming the key.
func (a *Args) Validate() error {
	for _, c := range []struct {
		ok   bool
		what string
	}{
		{a.LearningRate >= 0 && !math.IsInf(a.LearningRate, 0), "learning_rate must be a number of at least 0"},
		{a.WeightDecay >= 0, "weight_decay must be at least 0"},
		{a.AdamBeta1 >= 0 && a.AdamBeta1 < 1, "adam_beta1 must be in [0, 1)"},
		{a.AdamBeta2 >= 0 && a.AdamBeta2 < 1, "adam_beta2 must be in [0, 1)"},
		{a.AdamEpsilon > 0, "adam_epsilon must be above 0"},
		{a.MaxGradNorm >= 0, "max_grad_norm must be at least 0"},
		{a.WarmupSteps >= 0, "warmup_steps must be at least 0"},
		{a.WarmupRatio >= 0 && a.WarmupRatio <= 1, "warmup_ratio must be in [0, 1]"},
		{a.MaxSteps > 0 || a.NumTrainEpochs > 0, "max_steps or num_train_epochs must be above 0"},
		{a.PerDeviceTrainBatchSize > 0, "per_device_train_batch_size must be at least 1"},
		{a.GradientAccumulationSteps > 0, "gradient_accumulation_steps must be at least 1"},
		{a.LoggingSteps > 0, "logging_steps must be at least 1"},
		{a.EvalSteps >= 0, "eval_steps must be at least 0"},
		{a.SaveSteps > 0, "save_steps must be at least 1"},
		{a.SaveTotalLimit >= 0, "save_total_limit must be at least 0"},
		{a.EarlyStoppingPatience >= 0, "early_stopping_patience must be at least 0"},
		{a.EarlyStoppingPatience == 0 || a.EvalSteps > 0, "early_stopping_patience needs eval_steps"},
		{!a.LoadBestModelAtEnd || a.EvalSteps > 0, "load_best_model_at_end needs eval_steps"},
		{!a.LoadBestModelAtEnd || a.SaveSteps%max(a.EvalSteps, 1) == 0 || a.EvalSteps%a.SaveSteps == 0, "load_best_model_at_end needs save_steps to be a multiple of eval_steps, or the reverse"},
		{a.Replicas >= 1, "replicas must be at least 1"},
		{a.Mode == "sync" || a.Mode == "local", "mode must be sync or local"},
		{a.Mode != "local" || a.LocalSteps >= 1, "local_steps must be at least 1"},
		{a.OuterMomentum >= 0 && a.OuterMomentum < 1, "outer_momentum must be in [0, 1)"},
		{a.OuterLearningRate > 0, "outer_learning_rate must be above 0"},
		{a.DropLateAfter >= 0, "drop_late_after must be at least 0"},
		{a.MinReplicas >= 0 && a.MinReplicas <= a.Replicas, "min_replicas must be from 0 to replicas"},
		{a.OptimizerShards >= 0, "optimizer_shards must be at least 1"},
		{a.OptimizerShards <= 1 || a.Mode == "sync" && a.Replicas > 1, "optimizer_shards needs mode sync and replicas above 1: there is one optimiser then"},
		{a.Stride >= 0, "stride must be at least 0"},
		{a.Order == OrderWrapped || a.Order == OrderEpochs, "order must be 0 or 1: the run is of a newer version of the program"},
		{!a.DataloaderDropLast || !a.wraps(), "dataloader_drop_last goes with epochs that end with a batch of their own, not with a stride or a run of an earlier version"},
	} {
		if !c.ok {
			return fmt.Errorf("train: %s", c.what)
		}
	}
	if optimizerByName(a.Optim) == nil {
		return fmt.Errorf("train: optim %q is unknown; known are %s", a.Optim, strings.Join(Optimizers(), ", "))
	}
	if _, err := optimizerByName(a.Optim).options.with("optim_args", a.Optim, a.OptimArgs); err != nil {
		return err
	}
	if _, err := a.codec(); err != nil {
		return err
	}
	if a.LoraPlusLRRatio < 0 {
		return fmt.Errorf("train: loraplus_lr_ratio must be at least 0")
	}
	if a.LoraPlusLRRatio > 0 && optimizerByName(a.Optim).pair != nil {
		return fmt.Errorf("train: loraplus_lr_ratio is B's learning rate over A's, and optim %s freezes A: leave one of them out", a.Optim)
	}
	if scheduleByName(a.LRSchedulerType) == nil {
		return fmt.Errorf("train: lr_scheduler_type %q is unknown; known are %s", a.LRSchedulerType, strings.Join(Schedules(), ", "))
	}
	_, err := scheduleByName(a.LRSchedulerType).kwargs(a.LRSchedulerKwargs)
	return err
}

// Warmup is the number of warm-up steps of a run of the given length; warmup_steps goes before warmup_ratio.
func (a *Args) Warmup(steps int) int {
	if a.WarmupSteps > 0 {
		return a.WarmupSteps
	}
	return int(math.Ceil(a.WarmupRatio * float64(steps)))
}
