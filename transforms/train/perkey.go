package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/perkey"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

func init() {
	beam.RegisterDoFn(&exampleFn{})
	beam.RegisterDoFn(&resultFn{})
	beam.RegisterType(reflect.TypeFor[KeyAdapter]())
	register.Emitter2[string, perkey.Example]()
}

// KeySettings say what [PerKey] trains.
type KeySettings struct {
	Settings // Work is a folder that all workers see
	// Out is the folder of the adapters' folders, one a key (perkey.KeyName), Rejects that of the dead letters of keys with too little
	// data.
	Out, Rejects string
	// Tokenize says how records become examples; SequenceLength is what a longer one is cut to, 0 for a recipe's default.
	Tokenize       tokenize.Settings
	SequenceLength int
	recipe.Keys
	// Held is the share of the records, by the hash of their ids, that keys are scored on before and after, and not trained on.
	Held float64
}

// KeyAdapter is what became of a key.
type KeyAdapter struct {
	Key       string `beam:"key"`
	Dir       string `beam:"dir"`     // the adapter's folder, HF PEFT's; "" where there is none
	Skipped   string `beam:"skipped"` // why there is none
	Hash      string `beam:"hash"`    // SHA-256 of the values
	Sequences int64  `beam:"sequences"`
	Steps     int64  `beam:"steps"`
	Tokens    int64  `beam:"tokens"`
	// HeldTokens are the predicted tokens of what is held out, Before and After their mean negative log-likelihood; 0 where there are none.
	HeldTokens int64   `beam:"held_tokens"`
	Before     float64 `beam:"before"`
	After      float64 `beam:"after"`
}

// PerKey trains an adapter for each key on its records (PCollection<KV<string, ingest.Record>>, bounded): all over one base model, whose
// passes many keys share. It returns what became of each key (PCollection<KeyAdapter>) and the records that tokenizing rejects
// (PCollection<datasets.Reject>). An adapter has the bytes of that key trained alone; a key whose folder is that of the same settings and
// records is not trained again. Settings that a recipe would refuse panic.
func PerKey(s beam.Scope, set KeySettings, records beam.PCollection) (adapters, rejects beam.PCollection) {
	cfg, err := set.config()
	if err != nil {
		panic(fmt.Errorf("train.PerKey: %w", err))
	}
	s = s.Scope("train.PerKey")
	examples, rejects := beam.ParDo2(s, &exampleFn{Tokenize: set.Tokenize, Held: set.Held}, records)
	return beam.ParDo(s, &resultFn{Out: cfg.OutDir}, perkey.TrainPerKey(s, cfg, examples)), rejects
}

// config are perkey's settings.
func (c *KeySettings) config() (cfg perkey.Config, err error) {
	job, err := c.job(func(r *recipe.Recipe) { r.Data.KeyColumn = "key" })
	if err != nil {
		return cfg, err
	}
	for _, f := range [][2]string{{"Out", c.Out}, {"Rejects", c.Rejects}, {"Tokenize.Tokenizer", c.Tokenize.Tokenizer}} {
		if f[1] == "" {
			return cfg, fmt.Errorf("%s is not set", f[0])
		}
	}
	if !storage.IsLocal(c.Work) || !storage.IsLocal(c.Out) {
		return cfg, errors.New("settings Work and Out are folders that all workers see: at a location, `adaptflow run` trains by key")
	}
	if !(c.Held >= 0 && c.Held < 1) {
		return cfg, fmt.Errorf("setting Held is %g: it is a share, from 0 to below 1", c.Held)
	}
	if min(c.MinSequences, c.GroupKeys, c.GroupTokens) < 0 { // where they are 0, perkey has a recipe's defaults
		return cfg, errors.New("min_sequences, group_keys and group_tokens are not below 0")
	}
	if job.SequenceLength = c.SequenceLength; c.SequenceLength == 0 {
		job.SequenceLength = recipe.Default().Prepare.SequenceLength
	}
	cfg = perkey.Config{Job: job, Keys: c.Keys, Version: version.Version}
	for _, f := range []struct {
		to   *string
		from string
	}{{&cfg.OutDir, c.Out}, {&cfg.WorkDir, c.Work}, {&cfg.RejectsDir, c.Rejects}} {
		if *f.to, err = filepath.Abs(storage.Local(f.from)); err != nil {
			return cfg, err
		}
	}
	return cfg, nil
}

// exampleFn tokenizes the records of keys.
type exampleFn struct {
	Tokenize tokenize.Settings
	Held     float64

	records tokenize.RecordsFn
}

// Setup loads the tokenizer.
func (f *exampleFn) Setup() error {
	f.records.Settings = f.Tokenize
	return f.records.Setup()
}

// ProcessElement tokenizes a record of a key.
func (f *exampleFn) ProcessElement(ctx context.Context, key string, r ingest.Record, emit func(string, perkey.Example),
	rejects func(datasets.Reject)) error {
	return f.records.ProcessElement(ctx, r, func(d datasets.StagedDoc) {
		e := perkey.Example{ID: d.ID, Source: d.Source, InputIDs: d.Tokens, Labels: d.Labels,
			Eval: f.Held > 0 && float64(d.Split) < f.Held*math.MaxUint64}
		for _, s := range d.Spans {
			e.Spans = append(e.Spans, s[0], s[1])
		}
		emit(key, e)
	}, rejects)
}

// resultFn reads results of perkey.
type resultFn struct{ Out string }

// ProcessElement reads one.
func (f *resultFn) ProcessElement(raw string) (KeyAdapter, error) {
	var r perkey.Result
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return KeyAdapter{}, fmt.Errorf("train: the result of a key: %w", err)
	}
	k := KeyAdapter{Key: r.Key, Skipped: r.Skipped, Hash: r.SHA256, Sequences: int64(r.Sequences), Steps: int64(r.Steps), Tokens: r.Tokens}
	if r.Dir != "" {
		k.Dir = storage.Join(f.Out, r.Dir)
	}
	if r.EvalTokens > 0 {
		k.HeldTokens, k.Before, k.After = int64(r.EvalTokens), r.Before, r.After
	}
	return k, nil
}
