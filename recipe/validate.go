package recipe

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/train"
)

// check is a value that does not go with another, or needs it.
type check struct {
	path string
	bad  bool
	want string
}

// Validate checks every value that can be judged without reading files: each by its tags, then those that go together. The method's own
// fields are judged by package peft.
func (r *Recipe) Validate() error {
	v := reflect.ValueOf(r).Elem()
	for _, s := range table() {
		if s.fields == nil {
			continue
		}
		if err := settings.Check(v.Field(s.index).Interface()); err != nil {
			return settings.In(s.name, err)
		}
	}
	if err := r.Prepare.CheckSteps(); err != nil {
		return err
	}
	if err := r.Data.validateSources(); err != nil {
		return err
	}
	if err := r.ownChecks(); err != nil {
		return err
	}
	for _, k := range slices.Concat(r.modelChecks(), r.dataChecks(), r.classifierChecks(), r.trainChecks(), r.keyChecks(),
		r.continualChecks(), r.evaluateChecks()) {
		if k.bad {
			return &settings.Error{Key: k.path, Value: r.text(k.path), Want: k.want}
		}
	}
	if err := (datasets.Options{Delimiter: r.Data.Delimiter}).Validate(); err != nil {
		return settings.In("data", err)
	}
	pack := r.Prepare.PackOptions
	pack.Classes, pack.Answers = r.Classifies(), r.Train.Answers() != ""
	if err := r.Prepare.answersFit(r.Train.Answers()); err != nil {
		return err
	}
	if err := pack.Validate(); err != nil {
		return settings.In("prepare", err)
	}
	args := r.Train.Args
	args.Order = train.OrderEpochs // that of a run which begins
	if err := args.Consistent(); err != nil {
		return settings.In("train", err)
	}
	if s, ok := r.Method["peft_type"].(string); !ok || s == "" {
		return fmt.Errorf("method.peft_type must name the method, such as LORA")
	}
	if err := settings.Finite("method", r.Method); err != nil {
		return err
	}
	_, err := r.Model.Limit()
	return err
}

func (r *Recipe) modelChecks() []check {
	m := &r.Model
	return []check{
		{"model.load_in_8bit", m.LoadIn8Bit && m.LoadIn4Bit, "excludes load_in_4bit"},
		{"model.gguf", m.GGUF == "keep" && (m.LoadIn8Bit || m.LoadIn4Bit), "keep excludes load_in_4bit and load_in_8bit"},
		{"model.path", m.Path == "", "must name the base model's folder"},
	}
}

func (r *Recipe) dataChecks() []check {
	d := &r.Data
	files, sources := len(d.Input) > 0, len(d.Sources) > 0
	return []check{
		{"data.input", !files && !sources, "must name at least one file"},
		{"data.input", files && sources, "must be empty when sources are named: they are the input"},
		{"data.eval_input", len(d.EvalInput) > 0 && sources, "must be empty when sources are named: each has an eval_input of its own"},
		{"data.validation_fraction", !d.Held() && d.ValidationFraction == 0,
			"must be above 0 when eval_input is empty: something must be held out"},
		{"data.validation_fraction", len(r.Compare.Methods) > 0 && d.ValidationFraction == 0,
			"must be above 0 in a comparison: learning rates are chosen on text held out of the input"},
	}
}

func (r *Recipe) classifierChecks() []check {
	rewards := r.Train.Objective == train.ObjectiveReward
	out := []check{
		{"model.task", rewards && !r.scores(), "must be SEQ_CLS for the objective reward: a reward is the score of a head of one output"},
		{objectiveKey, r.Rewards() && !rewards,
			"does not go with the task SEQ_CLS: of the objectives over answers, reward alone is over a head of scores"},
		{"data.row_kind", r.Data.RowKind == "classification" && !r.Classifies(), "goes with model.task SEQ_CLS, without an objective"},
	}
	if !r.scores() {
		return out
	}
	return append(out, []check{
		{"data.row_kind", r.Classifies() && r.Data.RowKind != "classification" && r.Data.RowKind != "auto",
			"does not go with the task SEQ_CLS, whose rows are of kind classification"},
		{"data.general_input", len(r.Data.GeneralInput) > 0,
			"must be empty for the task SEQ_CLS: forgetting is measured of language models"},
		{"evaluate.chrf", r.Evaluate.ChrF > 0, "does not go with the task SEQ_CLS, which generates nothing"},
	}...)
}

// Trackers are the programs that train.report_to may name.
var Trackers = []string{"tensorboard", "jsonl", "mlflow"}

func (r *Recipe) trainChecks() []check {
	t := &r.Train
	return []check{
		{"train.report_to", slices.ContainsFunc(t.ReportTo, func(s string) bool { return !slices.Contains(Trackers, s) }),
			"takes " + strings.Join(Trackers, ", ")},
		{"train.distillation_alpha", t.DistillationAlpha != 1 && len(t.Teachers) == 0,
			"needs teachers: name them in train.teacher_model_name_or_path"},
		{"train.teacher_model_name_or_path", len(t.Teachers) > 0 && (r.scores() || r.Data.KeyColumn != ""),
			"must be empty for the task SEQ_CLS and in training by key: one language model's adapter learns from teachers"},
	}
}

func (r *Recipe) keyChecks() []check {
	if r.Data.KeyColumn == "" {
		return nil
	}
	t := &r.Train
	return []check{
		{"data.key_column", r.scores() || len(r.Compare.Methods) > 0,
			"must be empty for the task SEQ_CLS and for comparisons: a language model's adapters are trained by key"},
		{"train.replicas", t.Replicas != 1, "must be 1 in training by key"},
		{"train.early_stopping_patience", t.EarlyStoppingPatience > 0, "must be 0 in training by key"},
		{"train.init_adapter", t.InitAdapter != "",
			"must be empty in training by key: keys.init_adapters names the adapters of an earlier run"},
	}
}

func (r *Recipe) continualChecks() []check {
	if r.Continual.IncrementFiles == 0 {
		return nil
	}
	return []check{
		{"continual.increment_files", r.scores() || len(r.Compare.Methods) > 0 || r.Data.KeyColumn != "" || len(r.Data.Sources) > 0,
			"must be 0 for the task SEQ_CLS, comparisons, keys and named sources: one language model's adapter learns from the files of " +
				"data.input"},
		{"data.general_input", len(r.Data.GeneralInput) == 0,
			"must name general text in continual learning: max_forgetting is measured on it"},
		{"export.merged", r.Export.Merged, "must be false in continual learning: merge the version that you want with adaptflow merge"},
	}
}

func (r *Recipe) evaluateChecks() []check {
	e := &r.Evaluate
	return []check{
		{"evaluate.exact_match", e.ExactMatch > 0 && e.MaxNewTokens == 0, "needs max_new_tokens above 0"},
		{"evaluate.max_general_rise", e.MaxGeneralRise > 0 && (len(r.Data.GeneralInput) == 0 || r.scores() || r.Data.KeyColumn != "" ||
			len(r.Compare.Methods) > 0 || r.Continual.IncrementFiles > 0),
			"needs general_input, and a run of one language model's adapter: continual.max_forgetting holds increments"},
		{"evaluate.responses", e.Responses > 0 && (e.MaxNewTokens == 0 || r.Train.Answers() == "" || r.scores()),
			"needs max_new_tokens above 0, and a language model that learns from answers that are compared (train.objective)"},
		{"evaluate.reward_model", e.RewardModel != "" && e.Responses == 0, "needs responses above 0: it compares them"},
		{"evaluate.chrf", e.ChrF > 0 && e.MaxNewTokens == 0, "needs max_new_tokens above 0"},
	}
}

// Limit is memory_limit in bytes, 0 for none.
func (m *Model) Limit() (int64, error) {
	s := strings.TrimSpace(m.MemoryLimit)
	if s == "" {
		return 0, nil
	}
	n, err := storage.ParseSize(s)
	if err != nil {
		return 0, fmt.Errorf("model.memory_limit is %q; it must be a size such as 800MiB or 2GiB", m.MemoryLimit)
	}
	return n, nil
}
