// Package evaluate has the transforms of evaluation: a model is measured on held-out shards by workers, a shard each, and what was found is
// put together by one of them, which measures what cannot be taken apart, too (answers, samples). What travels is a job of references and
// a few numbers; the sums are taken in the order of sequences and of shards, so that any number of workers gives the same bits.
//
// [Score] is for programs with adapters and shards of their own; [ScoreJob] is a run's.
package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/tokenize"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&PartFn{})
	beam.RegisterDoFn(&ResultsFn{})
	beam.RegisterType(reflect.TypeFor[measure.Part]())
	beam.RegisterFunction(partOf)
	register.Emitter2[int, string]()
	register.Emitter1[string]()
	register.Iter1[string]()
}

// Job is everything that a worker needs to measure a model, as references: it travels as JSON.
type Job struct {
	Model core.Job   `json:"model"` // its model, method, objective and places; its settings and shards are not used
	At    core.Point `json:"at"`    // the adapter that is measured

	Tokenizer string        `json:"tokenizer"` // folder, or a reference to one
	Engine    string        `json:"engine,omitempty"`
	Ends      tokenize.Ends `json:"ends"`
	Before    bool          `json:"before,omitempty"` // the run goes on as version 0.1 did

	Config         measure.Config    `json:"config"`
	Domain         measure.Set       `json:"domain"`
	General        measure.Set       `json:"general"`
	Origins        map[string]string `json:"origins,omitempty"` // the named source of each file of the domain
	SequenceLength int               `json:"sequence_length"`
	Classes        []string          `json:"classes,omitempty"` // of a classifier, by number
	Seed           uint64            `json:"seed"`
	Chat           bool              `json:"chat,omitempty"` // see [measure.Input]

	// Run names the run, which ends the work when it is interrupted: see [core.Drive].
	Run string `json:"run"`
	// Output is the file that [ScoreJob] writes the [Found] to.
	Output string `json:"output"`
}

// Found is what a job found.
type Found struct {
	Results *measure.Results `json:"results"`
	Said    []string         `json:"said,omitempty"` // what could not be measured, in whole lines
}

// Read reads what a job found from its output.
func Read(output string) (*Found, error) {
	raw, err := storage.ReadFile(output)
	if err != nil {
		return nil, err
	}
	f := &Found{}
	if err = json.Unmarshal(raw, f); err == nil && f.Results == nil {
		err = errors.New("it has no results")
	}
	if err != nil {
		return nil, fmt.Errorf("%s holds no scores (%w): delete it, and they are made again", output, err)
	}
	return f, nil
}

// ScoreJob measures a model: parts are what [measure.Parts] says of its input. The collection that it returns has one element, the results
// as JSON, which are in the job's output then, too. What would make the graph large lies beside the output (see [Remove]); of a dry job it
// is not written.
func ScoreJob(s beam.Scope, job Job, parts []measure.Part, dry bool) (beam.PCollection, error) {
	js, err := job.text(dry)
	if err != nil {
		return beam.PCollection{}, err
	}
	s = s.Scope("evaluate.ScoreJob")
	// One that is none, so that what is found is put together where there are no parts, too.
	all, err := stage.List(s, beside(job.Output), "parts", append([]measure.Part{{Number: -1}}, parts...), partOf, dry)
	if err != nil {
		return beam.PCollection{}, err
	}
	found := beam.ParDo(s, &PartFn{Job: js}, beam.Reshuffle(s, all))
	return beam.ParDo(s, &ResultsFn{Job: js}, beam.GroupByKey(s, found)), nil
}

// PartFn measures a part.
type PartFn struct {
	Job string // Job as JSON
}

// ProcessElement emits what was found, a measure.Piece as JSON.
func (f *PartFn) ProcessElement(ctx context.Context, p measure.Part, emit func(int, string)) error {
	if p.Number < 0 {
		emit(0, "")
		return nil
	}
	var piece measure.Piece
	if err := use(ctx, f.Job, func(ctx context.Context, s *session) (err error) {
		piece, err = measure.RunPart(ctx, s.input, p)
		return err
	}); err != nil {
		return err
	}
	raw, err := json.Marshal(piece)
	if err != nil {
		return err
	}
	meter.Add(ctx, meter.PartsScored, 1)
	meter.Add(ctx, meter.TokensIn, piece.Tokens)
	emit(0, string(raw))
	return nil
}

// ResultsFn puts the parts together, measures what has none, and writes the job's output.
type ResultsFn struct {
	Job string
}

// ProcessElement emits the results as JSON.
func (f *ResultsFn) ProcessElement(ctx context.Context, _ int, pieces func(*string) bool, emit func(string)) error {
	var all []measure.Piece
	for text := ""; pieces(&text); {
		if text == "" {
			continue
		}
		var p measure.Piece
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			return err
		}
		all = append(all, p)
	}
	var results []byte
	if err := use(ctx, f.Job, func(ctx context.Context, s *session) error {
		found := Found{}
		s.input.Say = func(format string, a ...any) { found.Said = append(found.Said, fmt.Sprintf(format, a...)) }
		defer func() { s.input.Say = nil }()
		r, err := measure.Run(ctx, s.input, all...)
		if err != nil {
			return err
		}
		found.Results = r
		if results, err = storage.MarshalJSON(r, ""); err != nil {
			return err
		}
		raw, err := storage.MarshalJSON(&found, "")
		if err != nil {
			return err
		}
		return storage.WriteFile(s.job.Output, raw)
	}); err != nil {
		return err
	}
	emit(string(results))
	return nil
}

var errNoRun = errors.New("evaluate: a job without a run or an output")
