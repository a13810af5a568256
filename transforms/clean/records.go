package clean

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() { beam.RegisterDoFn(&RecordsFn{}) }

// Settings say how [Records] cleans.
type Settings struct {
	// Rules are applied in order, each to the text that the one before left: the name of a rule under the key "rule", and its settings.
	Rules rules.Steps
	// Language is that whose words and sentences the rules look at; "" for a recipe's default.
	Language string
}

// Records cleans records (PCollection<ingest.Record>, of any windows, bounded or not) and returns those that are kept, with the texts that
// the rules left (PCollection<ingest.Record>), and what is rejected (PCollection<datasets.Reject>): the same as [Rules] makes of the same
// records. Each record is judged by itself and goes on at once. It panics where the settings are wrong.
func Records(s beam.Scope, set Settings, records beam.PCollection) (kept, rejects beam.PCollection) {
	raw, err := json.Marshal(append(rules.Steps{}, set.Rules...))
	if err != nil {
		panic(fmt.Errorf("clean.Records: rules: %w", err))
	}
	fn := &RecordsFn{Rules: string(raw), Language: cmp.Or(set.Language, recipe.Default().Prepare.Language)}
	if err := fn.Setup(); err != nil {
		panic(fmt.Errorf("clean.Records: %w", err))
	}
	return beam.ParDo2(s.Scope("clean.Records"), fn, records)
}

// RecordsFn applies rules to records.
type RecordsFn struct {
	Rules    string // as [RulesFn] has them
	Language string

	rules RulesFn
}

// Setup builds the rules.
func (f *RecordsFn) Setup() error {
	f.rules = RulesFn{Rules: f.Rules, Language: f.Language}
	return f.rules.Setup()
}

// ProcessElement judges a record.
func (f *RecordsFn) ProcessElement(ctx context.Context, e ingest.Record, kept func(ingest.Record), rejects func(datasets.Reject)) {
	e = e.Identified()
	r := e.Dataset()
	meter.Add(ctx, meter.DocumentsIn, 1)
	meter.Add(ctx, meter.BytesIn, int64(len(r.Text)))
	rule, v := f.rules.judge(&r)
	if !v.Keep {
		meter.Rejected(ctx, map[string]int64{rule + "." + v.Reason: 1})
		rejects(v.Reject(&r, rule))
		return
	}
	v.Change(&r)
	e.Text, e.Row = r.Text, r.Row
	meter.Add(ctx, meter.DocumentsOut, 1)
	meter.Add(ctx, meter.BytesOut, int64(len(r.Text)))
	kept(e)
}
