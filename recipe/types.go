package recipe

import (
	"fmt"
	"strconv"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/quant"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/train/continual"
)

// Recipe is a resolved recipe: every field has its value.
type Recipe struct {
	Model    Model          `yaml:"model" json:"model"`
	Data     Data           `yaml:"data" json:"data"`
	Prepare  Prepare        `yaml:"prepare" json:"prepare"`
	Method   map[string]any `yaml:"method" json:"method"` // peft_type and the fields of that method's HF configuration
	Train    Train          `yaml:"train" json:"train"`
	Evaluate measure.Config `yaml:"evaluate" json:"evaluate"`
	Export   export.Config  `yaml:"export" json:"export"`
	Compare  Compare        `yaml:"compare" json:"compare"`
	Keys     Keys           `yaml:"keys" json:"keys"`
	// Continual makes the run continual learning.
	Continual continual.Config `yaml:"continual" json:"continual"`

	// Auto are the keys whose values are left to the model, which has not been asked: they have their defaults until [Recipe.Choose].
	// Those of Small have values that hold for models as small as the embedded ones.
	Auto, Small []string `yaml:"-" json:"-"`
	// Warnings are of former names of keys that the layers use.
	Warnings []string `yaml:"-" json:"-"`
}

// Model names the base model.
type Model struct {
	Path            string `yaml:"path" json:"path" help:"folder of a Hugging Face model, embedded:NAME, org/name of the hub, or a folder on an object store (s3://, gs://)"`
	Task            string `yaml:"task" json:"task" help:"what the model is opened for, HF PEFT's task_type: SEQ_CLS classifies texts" enum:"CAUSAL_LM,SEQ_CLS"`
	quant.Config    `yaml:",inline"`
	TokenizerEngine string `yaml:"tokenizer_engine" json:"tokenizer_engine" help:"tokenizer implementation" enum:"exact,sugarme"`
	MemoryLimit     string `yaml:"memory_limit" json:"memory_limit" help:"most memory the training program may take, as 800MiB or 2GiB; empty for no limit"`
}

// Data names the input, and says how it is read and mixed.
type Data struct {
	Input            []string `yaml:"input" json:"input" help:"files or globs of the text to adapt to"`
	EvalInput        []string `yaml:"eval_input" json:"eval_input" help:"held-out text of the same kind; when empty a part of the input is held out"`
	GeneralInput     []string `yaml:"general_input" json:"general_input" help:"general text on which forgetting is measured"`
	datasets.Options `yaml:",inline"`
	// Sources are named parts of the input: see [Source].
	Sources      map[string]any `yaml:"sources" json:"sources" help:"named parts of the input, such as languages, in place of input: {de: german/*.jsonl, fr: {input: [french/*.jsonl], max_tokens: 1000000}}; each may have input, eval_input, weight, max_documents, max_tokens and translation"`
	datasets.Mix `yaml:",inline"`
	Shares       `yaml:",inline"`
}

// Shares are parts of the documents.
type Shares struct {
	ValidationFraction float64 `yaml:"validation_fraction" json:"validation_fraction" bounds:"[0,1)" help:"share of the documents held out when eval_input is empty"`
	MaxBadFraction     float64 `yaml:"max_bad_fraction" json:"max_bad_fraction" bounds:"[0,1]" help:"share of rejected records above which the command ends with exit code 3"`
}

// Prepare says how documents become training sequences. It is part of prepare.Config (package transforms/prepare).
type Prepare struct {
	datasets.PackOptions `yaml:",inline"`
	TokensPerShard       int64 `yaml:"tokens_per_shard" json:"tokens_per_shard" bounds:"[1,1099511627776]" help:"tokens of a Parquet shard"`
	CompletionOnlyLoss   bool  `yaml:"completion_only_loss" json:"completion_only_loss" help:"of prompts and completions take a loss on the completion alone"`
	// Ends are what stands around a text.
	tokenize.Ends     `yaml:",inline"`
	AssistantOnlyLoss bool        `yaml:"assistant_only_loss" json:"assistant_only_loss" help:"of conversations take a loss on what the chat template's {% generation %} marks alone"`
	ApplyChatTemplate bool        `yaml:"apply_chat_template" json:"apply_chat_template" help:"plain prompts and completions become turns in the model's chat template, or in Alpaca's prompt where it has none; auto where it has one"`
	ChatTemplate      string      `yaml:"chat_template" json:"chat_template" help:"file with a chat template in place of the model's"`
	Clean             rules.Steps `yaml:"clean" json:"clean" help:"cleaning rules in order: names, or {rule: NAME} with settings under datatrove's names; or a profile alone, as clean: web (docs, books, chat, code)"`
	Dedupe            rules.Steps `yaml:"dedupe" json:"dedupe" help:"steps of deduplication in order: exact, paragraphs, sentences, minhash, with settings as of clean"`
	MaxLength         int         `yaml:"max_length" json:"max_length" bounds:"[0,16777216]" since:"0.2" help:"tokens of a prompt with an answer where answers are compared, whose end is cut off; 0 for sequence_length, or of pairs, of which both are in a sequence, half of it"`
	Language          string      `yaml:"language" json:"language" help:"language whose words and sentences the rules look at, as en or deu"`
}

// LongestAnswer is the most tokens of a prompt with an answer, in shards of a kind.
func (p *Prepare) LongestAnswer(kind string) int {
	if p.MaxLength > 0 {
		return p.MaxLength
	}
	if kind == datasets.KindPreference {
		return p.SequenceLength / 2
	}
	return p.SequenceLength
}

// answersFit says what is wrong with the lengths where answers are compared.
func (p *Prepare) answersFit(kind string) error {
	most := p.SequenceLength
	if kind == datasets.KindPreference {
		most /= 2
	}
	if kind == "" && p.MaxLength > 0 {
		return &settings.Error{Key: "prepare.max_length", Value: strconv.Itoa(p.MaxLength),
			Want: "must be 0 where no answers are compared: sequence_length says how long texts are"}
	}
	if p.MaxLength > most {
		return &settings.Error{Key: "prepare.max_length", Value: strconv.Itoa(p.MaxLength),
			Want: fmt.Sprintf("must be at most %d: both answers of a pair are in one sequence of sequence_length %d",
				most, p.SequenceLength)}
	}
	return nil
}

// Train is [train.Args] with [train.Start] and [train.NamedObjective], and the one key that says which run is repeated.
type Train struct {
	train.Args   `yaml:",inline"`
	Contributors string   `yaml:"contributors" json:"contributors" help:"trainer_state.json of a run whose lists of contributing replicas are followed, to repeat it; empty to decide by drop_late_after"`
	ReportTo     []string `yaml:"report_to" json:"report_to" since:"0.2" help:"programs that a training is reported to, as transformers' report_to: tensorboard, jsonl (metrics.jsonl, which is written anyway), mlflow (at MLFLOW_TRACKING_URI)"`
	train.Start  `yaml:",inline"`

	train.NamedObjective `yaml:",inline"`
}

// Compare makes a recipe a comparison of methods.
type Compare struct {
	Methods         []string  `yaml:"methods" json:"methods" help:"methods to compare, by peft_type; none for a single training"`
	LearningRates   []float64 `yaml:"learning_rates" json:"learning_rates" bounds:"(0,)" help:"learning rates tried with each method; empty for train.learning_rate, auto by the size of the model"`
	ParameterBudget int       `yaml:"parameter_budget" json:"parameter_budget" bounds:"[0,1099511627776]" help:"trained parameters that every method is sized to; 0 for those of the recipe's own method"`
}

// Keys are the settings of training by key, which data.key_column turns on.
type Keys struct {
	MinSequences int    `yaml:"min_sequences" json:"min_sequences" bounds:"[1,)" help:"packed sequences that a key must have to be trained; keys with fewer are rejected"`
	InitAdapters string `yaml:"init_adapters" json:"init_adapters" help:"folder of the adapters of an earlier run by key, here or on an object store: a key that has one there starts from it; empty for new values"`
	GroupKeys    int    `yaml:"group_keys" json:"group_keys" bounds:"[1,1048576]" help:"most keys that share a pass over the base; it changes no result"`
	GroupTokens  int    `yaml:"group_tokens" json:"group_tokens" bounds:"[1,)" help:"most tokens of such a pass; it changes no result"`
}

// scores says whether the model has a head of scores in place of a language model's.
func (r *Recipe) scores() bool { return r.Model.Task == "SEQ_CLS" }

// Classifies says whether the recipe trains a classifier of texts.
func (r *Recipe) Classifies() bool { return r.scores() && !r.Rewards() }

// Rewards says whether the recipe trains a reward model: a head of one score, which is learnt from pairs of answers.
func (r *Recipe) Rewards() bool { return r.scores() && r.Train.Answers() != "" }

// Default returns the values that hold where no layer says otherwise; those of HF's TrainingArguments where they exist.
func Default() Recipe {
	return Recipe{
		Model: Model{Task: "CAUSAL_LM", TokenizerEngine: "exact",
			Config: quant.Config{DType: "float32", QuantType: "nf4", DoubleQuant: true, GGUF: "bf16", Weights: "memory"}},
		Data: Data{Input: []string{}, EvalInput: []string{}, GeneralInput: []string{}, Sources: map[string]any{},
			Options: datasets.Options{Format: datasets.FormatAuto, RowKind: datasets.RowAuto, LabelColumn: "label",
				Columns: map[string]string{}, TextColumn: "text",
				TextMode: datasets.TextLine},
			Mix: datasets.Mix{Strategy: datasets.AllExhausted}, Shares: Shares{ValidationFraction: 0.05, MaxBadFraction: 0.1}},
		Prepare: Prepare{PackOptions: datasets.PackOptions{SequenceLength: 256, Strategy: "best_fit", IsolateDocuments: true},
			TokensPerShard: 4 << 20,
			Clean:          rules.Steps{}, Dedupe: rules.Steps{}, Language: "en", CompletionOnlyLoss: true,
			Ends: tokenize.Ends{BOS: tokenize.Auto, EOS: tokenize.Auto}},
		Method: map[string]any{"peft_type": "LORA"},
		Train: Train{Args: trainArgs(), ReportTo: []string{"tensorboard"}, Start: train.Start{Teachers: []string{}, DistillationAlpha: 1},
			NamedObjective: train.NamedObjective{ObjectiveArgs: map[string]any{}}},
		Keys: Keys{MinSequences: 1, GroupKeys: 64, GroupTokens: 8192},
		Evaluate: measure.Config{MaxSequences: 64, AnswerMatch: evaluate.MatchSQuAD, BatchSize: 4, Prompts: []string{},
			Measures: settings.Named{},
			Sampling: measure.DefaultSampling()},

		Export: export.Config{Formats: settings.Named{}},
		Continual: continual.Config{Limits: continual.Limits{MaxForgetting: 0.1, MaxDomainRise: 0.05}, ReplayFraction: 0.25,
			ReplaySequences: 512},
	}
}

// trainArgs are those of package train where a recipe says nothing else.
func trainArgs() train.Args {
	a := train.DefaultArgs()
	a.MaxSteps, a.PerDeviceTrainBatchSize, a.LearningRate, a.SaveSteps, a.LocalSteps = -1, 4, 2e-4, 50, 10
	a.LRSchedulerKwargs, a.Compression, a.MinReplicas, a.OptimizerShards = map[string]any{}, "none", 1, 1
	a.Order = 0 // the run decides
	return a
}
