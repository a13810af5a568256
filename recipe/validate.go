package recipe

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train"
)

// Validate checks every value that can be judged without reading files. The method's own fields are judged by package peft.
func (r *Recipe) Validate() error {
	for _, f := range Fields() {
		if f.Enum == nil {
			continue
		}
		v := r.text(f.Path)
		if !contains(f.Enum, v) {
			return fmt.Errorf("%s is %q; it must be one of %s", f.Path, v, strings.Join(f.Enum, ", "))
		}
	}
	if err := r.Prepare.validateSteps(); err != nil {
		return err
	}
	if err := r.Data.validateSources(); err != nil {
		return err
	}
	t, e, c := &r.Train, &r.Evaluate, &r.Continual
	on := c.IncrementFiles > 0
	type check struct {
		path string
		bad  bool
		want string
	}
	for _, k := range []check{
		{"model.load_in_8bit", r.Model.LoadIn8Bit && r.Model.LoadIn4Bit, "excludes load_in_4bit"},
		{"model.path", r.Model.Path == "", "must name the base model's folder"},
		{"data.row_kind", r.Classifies() && r.Data.RowKind != "classification" && r.Data.RowKind != "auto", "does not go with the task SEQ_CLS, whose rows are of kind classification"},
		{"data.row_kind", !r.Classifies() && r.Data.RowKind == "classification", "goes with model.task SEQ_CLS"},
		{"data.general_input", r.Classifies() && len(r.Data.GeneralInput) > 0, "must be empty for the task SEQ_CLS: forgetting is measured of language models"},
		{"prepare.packing", r.Classifies() && r.Prepare.Packing == "wrapped", "would cut texts apart, which have a class each: best_fit, bfd, bfd_split and none do not"},
		{"prepare.isolate_documents", r.Classifies() && !r.Prepare.IsolateDocuments, "must be true for the task SEQ_CLS: each text has its class"},
		{"data.input", len(r.Data.Input)+len(r.Data.Sources) == 0, "must name at least one file"},
		{"data.input", len(r.Data.Input) > 0 && len(r.Data.Sources) > 0, "must be empty when sources are named: they are the input"},
		{"data.eval_input", len(r.Data.EvalInput) > 0 && len(r.Data.Sources) > 0, "must be empty when sources are named: each has an eval_input of its own"},
		{"data.validation_fraction", !(r.Data.ValidationFraction >= 0 && r.Data.ValidationFraction < 1), "must be at least 0 and below 1"},
		{"data.validation_fraction", !r.Data.Held() && r.Data.ValidationFraction == 0, "must be above 0 when eval_input is empty: something must be held out"},
		{"data.max_bad_fraction", !(r.Data.MaxBadFraction >= 0 && r.Data.MaxBadFraction <= 1), "must be between 0 and 1"},
		{"prepare.sequence_length", r.Prepare.SequenceLength < 2, "must be at least 2"},
		{"prepare.tokens_per_shard", r.Prepare.TokensPerShard < 1, "must be at least 1"},
		{"train.max_steps", t.MaxSteps == 0 || t.MaxSteps < -1, "must be at least 1, or -1 to train for num_train_epochs"},
		{"train.num_train_epochs", t.MaxSteps == -1 && !(t.NumTrainEpochs > 0), "must be above 0"},
		{"train.per_device_train_batch_size", t.PerDeviceTrainBatchSize < 1, "must be at least 1"},
		{"train.gradient_accumulation_steps", t.GradientAccumulationSteps < 1, "must be at least 1"},
		{"train.learning_rate", !(t.LearningRate >= 0) || math.IsInf(t.LearningRate, 0), "must be a finite number, not negative"},
		{"train.warmup_steps", t.WarmupSteps < 0, "must not be negative"},
		{"train.warmup_ratio", !(t.WarmupRatio >= 0 && t.WarmupRatio <= 1), "must be between 0 and 1"},
		{"train.weight_decay", !(t.WeightDecay >= 0), "must not be negative"},
		{"train.adam_beta1", !(t.AdamBeta1 >= 0 && t.AdamBeta1 < 1), "must be at least 0 and below 1"},
		{"train.adam_beta2", !(t.AdamBeta2 >= 0 && t.AdamBeta2 < 1), "must be at least 0 and below 1"},
		{"train.adam_epsilon", !(t.AdamEpsilon >= 0), "must not be negative"},
		{"train.max_grad_norm", !(t.MaxGradNorm >= 0), "must not be negative"},
		{"train.logging_steps", t.LoggingSteps < 1, "must be at least 1"},
		{"train.eval_steps", t.EvalSteps < 0, "must not be negative"},
		{"train.save_steps", t.SaveSteps < 1, "must be at least 1"},
		{"train.save_total_limit", t.SaveTotalLimit < 1, "must be at least 1"},
		{"train.early_stopping_patience", t.EarlyStoppingPatience < 0, "must not be negative"},
		{"train.early_stopping_patience", t.EarlyStoppingPatience > 0 && t.EvalSteps == 0, "needs eval_steps above 0"},
		{"train.load_best_model_at_end", t.LoadBestModelAtEnd && t.EvalSteps == 0, "needs eval_steps above 0"},
		{"train.replicas", t.Replicas < 1, "must be at least 1"},
		{"train.local_steps", t.LocalSteps < 1, "must be at least 1"},
		{"train.outer_lr", !(t.OuterLR > 0), "must be above 0"},
		{"train.outer_momentum", !(t.OuterMomentum >= 0 && t.OuterMomentum < 1), "must be at least 0 and below 1"},
		{"train.drop_late_after", !(t.DropLateAfter >= 0), "must not be negative"},
		{"train.optimizer_shards", t.OptimizerShards < 1, "must be at least 1"},
		{"train.optimizer_shards", t.OptimizerShards > 1 && (t.Mode != "sync" || t.Replicas < 2), "must be 1 but in mode sync with several replicas, where there is one optimiser"},
		{"train.min_replicas", t.MinReplicas < 1 || t.MinReplicas > t.Replicas, "must be from 1 to train.replicas"},
		{"train.distillation_alpha", !(t.DistillationAlpha > 0 && t.DistillationAlpha <= 1), "must be above 0 and at most 1"},
		{"train.distillation_alpha", t.DistillationAlpha != 1 && len(t.Teachers) == 0, "needs teachers: name them in train.teacher_model_name_or_path"},
		{"train.teacher_model_name_or_path", len(t.Teachers) > 0 && (r.Classifies() || r.Data.KeyColumn != ""), "must be empty for the task SEQ_CLS and in training by key: one language model's adapter learns from teachers"},
		{"compare.learning_rates", slices.ContainsFunc(r.Compare.LearningRates, func(x float64) bool { return !(x > 0) || math.IsInf(x, 0) }), "must be finite numbers above 0"},
		{"keys.min_sequences", r.Keys.MinSequences < 1, "must be at least 1"},
		{"keys.group_keys", r.Keys.GroupKeys < 1, "must be at least 1"},
		{"keys.group_tokens", r.Keys.GroupTokens < 1, "must be at least 1"},
		{"data.key_column", r.Data.KeyColumn != "" && (r.Classifies() || len(r.Compare.Methods) > 0), "must be empty for the task SEQ_CLS and for comparisons: a language model's adapters are trained by key"},
		{"train.replicas", r.Data.KeyColumn != "" && t.Replicas != 1, "must be 1 in training by key"},
		{"train.early_stopping_patience", r.Data.KeyColumn != "" && t.EarlyStoppingPatience > 0, "must be 0 in training by key"},
		{"train.init_adapter", r.Data.KeyColumn != "" && t.InitAdapter != "", "must be empty in training by key: keys.init_adapters names the adapters of an earlier run"},
		{"continual.increment_files", c.IncrementFiles < 0, "must not be negative"},
		{"continual.increment_files", on && (r.Classifies() || len(r.Compare.Methods) > 0 || r.Data.KeyColumn != "" || len(r.Data.Sources) > 0), "must be 0 for the task SEQ_CLS, comparisons, keys and named sources: one language model's adapter learns from the files of data.input"},
		{"continual.max_forgetting", !(c.MaxForgetting >= 0) || math.IsInf(c.MaxForgetting, 0), "must be a finite number, not negative"},
		{"continual.max_domain_rise", math.IsNaN(c.MaxDomainRise), "must be a number"},
		{"continual.replay_fraction", !(c.ReplayFraction >= 0 && c.ReplayFraction < 1), "must be at least 0 and below 1"},
		{"continual.replay_sequences", c.ReplaySequences < 0, "must not be negative"},
		{"data.general_input", on && len(r.Data.GeneralInput) == 0, "must name general text in continual learning: max_forgetting is measured on it"},
		{"export.merged", on && r.Export.Merged, "must be false in continual learning: merge the version that you want with adaptflow merge"},
		{"data.delimiter", datasets.Options{Delimiter: r.Data.Delimiter}.Validate() != nil, "must be one character that is no quotation mark or line end, such as ; or tab; or empty"},
		{"compare.parameter_budget", r.Compare.ParameterBudget < 0, "must not be negative"},
		{"data.validation_fraction", len(r.Compare.Methods) > 0 && r.Data.ValidationFraction == 0, "must be above 0 in a comparison: learning rates are chosen on text held out of the input"},
		{"evaluate.max_sequences", e.MaxSequences < 0, "must not be negative"},
		{"evaluate.exact_match", e.ExactMatch < 0, "must not be negative"},
		{"evaluate.exact_match", e.ExactMatch > 0 && e.MaxNewTokens == 0, "needs max_new_tokens above 0"},
		{"evaluate.chrf", e.ChrF < 0, "must not be negative"},
		{"evaluate.chrf", e.ChrF > 0 && e.MaxNewTokens == 0, "needs max_new_tokens above 0"},
		{"evaluate.chrf", e.ChrF > 0 && r.Classifies(), "does not go with the task SEQ_CLS, which generates nothing"},
		{"evaluate.batch_size", e.BatchSize < 1, "must be at least 1"},
		{"evaluate.max_new_tokens", e.MaxNewTokens < 0, "must not be negative"},
		{"evaluate.temperature", !(e.Temperature > 0), "must be above 0"},
		{"evaluate.top_k", e.TopK < 0, "must not be negative"},
		{"evaluate.top_p", !(e.TopP > 0 && e.TopP <= 1), "must be above 0 and at most 1"},
		{"evaluate.repetition_penalty", !(e.RepetitionPenalty > 0), "must be above 0"},
	} {
		if k.bad {
			return fmt.Errorf("%s is %s; it %s", k.path, r.text(k.path), k.want)
		}
	}
	if err := r.bounded(); err != nil {
		return err
	}
	if s, ok := r.Method["peft_type"].(string); !ok || s == "" {
		return fmt.Errorf("method.peft_type must name the method, such as LORA")
	}
	if err := train.CheckCompression(t.Compression, t.CompressionArgs); err != nil {
		return err
	}
	if _, err := r.Model.Limit(); err != nil {
		return err
	}
	return nil
}

// units are the suffixes of a size, the longer before those they end with.
var units = []struct {
	suffix string
	bytes  float64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

// Limit is memory_limit in bytes, 0 for none.
func (m *Model) Limit() (int64, error) {
	s := strings.TrimSpace(m.MemoryLimit)
	if s == "" {
		return 0, nil
	}
	scale, number := 1.0, s
	for _, u := range units {
		if strings.HasSuffix(s, u.suffix) {
			scale, number = u.bytes, strings.TrimSpace(strings.TrimSuffix(s, u.suffix))
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil || !(v > 0) || v*scale > 1<<60 {
		return 0, fmt.Errorf("model.memory_limit is %q; it must be a size such as 800MiB or 2GiB", m.MemoryLimit)
	}
	return int64(v * scale), nil
}
