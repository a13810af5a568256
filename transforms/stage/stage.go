// Package stage holds what the stages between reading and tokenizing share: each takes references to row groups of staged records, writes
// what it keeps to a row group of its own, the others to dead letters, and counts. [Write] and [Read] are
// for programs that have records of their own, of any windows: they turn records into references to groups of them, and back.
package stage

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	beam.RegisterFunction(keyed)
	register.Iter1[string]()
	beam.RegisterType(reflect.TypeFor[Summary]())
	RegisterTotal[Totals](TotalsKind)
	RegisterTotal[ingest.Totals](ingest.TotalsKind) // which this package stands on
}

// Summary is what a stage made of a row group: In = Kept + all of Rejected.
type Summary struct {
	Group    ingest.Group     `json:"group"` // what goes on; its Path is the group's own when nothing changed
	In       int64            `json:"in"`
	Kept     int64            `json:"kept"`
	Changed  int64            `json:"changed"`  // kept with another text
	Rejected map[string]int64 `json:"rejected"` // by "rule.reason"
	Counters map[string]int64 `json:"counters"` // by "rule.counter"
	Rejects  string           `json:"rejects,omitempty"`

	bytesIn, bytesOut int64 // of the texts
}

// TotalsKind names [Totals] for [Total].
const TotalsKind = "stage"

// Totals are what a stage made of all groups: In = Kept + all of Rejected.
type Totals struct {
	Groups   int64            `json:"groups"` // that were judged
	Left     int64            `json:"left"`   // of which something was kept
	In       int64            `json:"in"`
	Kept     int64            `json:"kept"`
	Changed  int64            `json:"changed"`
	Rejected map[string]int64 `json:"rejected,omitempty"`
	Counters map[string]int64 `json:"counters,omitempty"`
	Rejects  []string         `json:"rejects,omitempty"` // files of dead letters, sorted
}

// Add adds the totals of other groups.
func (t *Totals) Add(o *Totals) {
	t.Groups, t.Left, t.In, t.Kept, t.Changed = t.Groups+o.Groups, t.Left+o.Left, t.In+o.In, t.Kept+o.Kept, t.Changed+o.Changed
	t.Rejected, t.Counters = datasets.AddCounts(t.Rejected, o.Rejected), datasets.AddCounts(t.Counters, o.Counters)
	t.Rejects = datasets.AddNames(t.Rejects, o.Rejects)
}

// totals are those of one group, in JSON.
func (s *Summary) totals() (string, error) {
	t := Totals{Groups: 1, In: s.In, Kept: s.Kept, Changed: s.Changed, Rejected: s.Rejected, Counters: s.Counters}
	if s.Kept > 0 {
		t.Left = 1
	}
	if s.Rejects != "" {
		t.Rejects = []string{s.Rejects}
	}
	b, err := json.Marshal(&t)
	return string(b), err
}

// Judge says what becomes of a record: the rule (its name) and its verdict, whose text replaces the record's, and whose counters are named
// "rule.counter" after the rule that counted.
type Judge func(r *datasets.Record) (rule string, v Verdict)

// Verdict is a rule's, and of a row of several fields what the row becomes ("": it stays).
type Verdict struct {
	rules.Verdict
	Row string
}

// Reject is the dead letter of a record that a rule, by its name, does not keep.
func (v *Verdict) Reject(r *datasets.Record, rule string) datasets.Reject {
	return datasets.Reject{Source: r.Source, Index: r.Index, Rule: rule, Reason: v.Reason, Value: v.Value, Threshold: v.Threshold,
		Record: []byte(r.Text[:min(len(r.Text), datasets.MaxRejectRecord)])}
}

// Change gives a record that is kept the text that the rules left, and says whether it is another.
func (v *Verdict) Change(r *datasets.Record) bool {
	if v.Text == r.Text {
		return false
	}
	r.Text = v.Text
	if v.Row != "" {
		r.Row = v.Row
	}
	return true
}

// Apply judges the records of a group, in order, and writes what is kept and the dead letters. It may be called by several goroutines with
// a judge that may.
func Apply(ctx context.Context, g ingest.Group, dir, rejectsDir, name string, judge Judge) (*Summary, error) {
	recs, err := datasets.ReadRecords(g.Path, g.Source, g.Group)
	if err != nil {
		return nil, err
	}
	s := &Summary{Group: g, Rejected: map[string]int64{}, Counters: map[string]int64{}}
	dead := datasets.NewRejectWriter(storage.Join(rejectsDir, name+"-"+g.Name+".jsonl.zst"))
	defer dead.Abort()
	kept := recs[:0]
	for i := range recs {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r := &recs[i]
		s.In++
		s.bytesIn += int64(len(r.Text))
		rule, v := judge(r)
		for _, c := range v.Counters {
			s.Counters[c.Name] += int64(c.N)
		}
		if !v.Keep {
			s.Rejected[rule+"."+v.Reason]++
			d := v.Reject(r, rule)
			if err := dead.Write(&d); err != nil {
				return nil, err
			}
			continue
		}
		s.Kept++
		if v.Change(r) {
			s.Changed++
		}
		s.bytesOut += int64(len(r.Text))
		kept = append(kept, *r)
	}
	if s.Rejects, err = dead.Close(); err != nil {
		return nil, err
	}
	if s.Changed > 0 || s.Kept < s.In {
		s.Group.Path, s.Group.Group = storage.Join(dir, g.Name+".parquet"), 0
		w, err := datasets.CreateGroup(s.Group.Path)
		if err != nil {
			return nil, err
		}
		defer w.Abort()
		for i := range kept {
			if err := w.Write(&kept[i]); err != nil {
				return nil, err
			}
		}
		if _, err := w.Close(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Finish is FinishBundle of a stage: it waits for the groups of the bundle, counts, and emits references to what is kept of them, and their
// [Totals].
func Finish(ctx context.Context, w *bundle.Workers[*Summary], emit func(ingest.Group), total func(string)) error {
	sums, err := w.Wait()
	if err != nil {
		return err
	}
	for _, s := range sums {
		meter.Add(ctx, meter.DocumentsIn, s.In)
		meter.Add(ctx, meter.DocumentsOut, s.Kept)
		meter.Add(ctx, meter.BytesIn, s.bytesIn)
		meter.Add(ctx, meter.BytesOut, s.bytesOut)
		meter.Rejected(ctx, s.Rejected)
		if s.Kept > 0 {
			emit(s.Group)
		}
		t, err := s.totals()
		if err != nil {
			return err
		}
		total(t)
	}
	return nil
}

func keyed(s string) (int, string) { return 0, s }
