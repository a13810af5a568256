// Package clean has the transform that applies cleaning rules to staged records.
package clean

import (
	"context"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/langid"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() { beam.RegisterDoFn(&RulesFn{}) }

// Name is the stage's name, of its folder and its dead letters.
const Name = "clean"

// RulesFn applies rules in order to the records of a row group, each to the text that the one before left.
type RulesFn struct {
	Rules      string // a JSON array of settings, see rules.DecodeChain
	Language   string // of the words and sentences
	OutDir     string
	RejectsDir string

	chain    []rules.Rule
	splitter rules.Splitter
	work     bundle.Workers[*stage.Summary]
}

// Setup builds the rules.
func (f *RulesFn) Setup() (err error) {
	if f.chain, err = rules.DecodeChain(f.Rules, rules.Tools{Languages: langid.New, Words: words.For}); err != nil {
		return err
	}
	f.splitter, err = words.For(f.Language)
	return err
}

// StartBundle begins with no group.
func (f *RulesFn) StartBundle(context.Context, func(ingest.Group), func(string)) { f.work.Start() }

// ProcessElement begins to clean one group.
func (f *RulesFn) ProcessElement(ctx context.Context, g ingest.Group, _ func(ingest.Group), _ func(string)) error {
	return f.work.Go(ctx, func() (*stage.Summary, error) {
		s, err := stage.Apply(ctx, g, f.OutDir, f.RejectsDir, Name, f.judge)
		if err != nil {
			return nil, fmt.Errorf("cleaning %s: %w", g.Source, err)
		}
		return s, nil
	})
}

// FinishBundle emits what is kept of the groups, and their stage.Totals.
func (f *RulesFn) FinishBundle(ctx context.Context, emit func(ingest.Group), total func(string)) error {
	return stage.Finish(ctx, &f.work, emit, total)
}

// judge applies the rules. A row of several fields is judged by all its texts together; a rule that rewrites is applied to each of them.
func (f *RulesFn) judge(r *datasets.Record) (string, stage.Verdict) {
	row := ""
	d := &rules.Doc{Text: r.Text, URL: r.URL, Splitter: f.splitter}
	v := rules.Verdict{Keep: true, Text: r.Text}
	var counters []rules.Counter
	for _, rule := range f.chain {
		v = rule.Apply(d)
		for _, c := range v.Counters {
			counters = append(counters, rules.Counter{Name: rule.Name() + "." + c.Name, N: c.N}) // under the rule that counted
		}
		if !v.Keep {
			v.Counters = counters
			return rule.Name(), stage.Verdict{Verdict: v}
		}
		if r.Row != "" && v.Text != d.Text {
			if row == "" {
				row = r.Row
			}
			next, text, err := datasets.RewriteRow(row, func(s string) string {
				if x := rule.Apply(&rules.Doc{Text: s, URL: r.URL, Splitter: f.splitter}); x.Keep {
					return x.Text
				}
				return ""
			})
			if err != nil || text == "" {
				return rule.Name(), stage.Verdict{Verdict: rules.Verdict{Reason: "empty", Value: "0", Threshold: "1", Counters: counters}}
			}
			row, v.Text = next, text
		}
		d.SetText(v.Text)
	}
	v.Counters = counters
	return "", stage.Verdict{Verdict: v, Row: row}
}

// Rules cleans the records that groups (PCollection<ingest.Group>) refers to and returns references to what is kept
// (PCollection<ingest.Group>), and the totals of all groups (PCollection<string>, see stage.Total).
func Rules(s beam.Scope, fn *RulesFn, groups beam.PCollection) (kept, totals beam.PCollection) {
	return beam.ParDo2(s.Scope("clean.Rules"), fn, groups)
}
