package dedupe

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/bundle"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/stage"
)

func init() {
	beam.RegisterDoFn(&signRecordsFn{})
	beam.RegisterDoFn(&filterRecordsFn{})
	register.Emitter1[stage.Group]()
}

// Settings say how [Records] deduplicates.
type Settings struct {
	// Steps are done in order: the name of a step (exact, paragraphs, sentences, minhash) under the key "rule", and its settings, but for
	// the folders of an index.
	Steps rules.Steps
	// Language is that whose words and sentences the steps look at; "" for a recipe's default.
	Language string
	// Dir is the folder or URI for what is staged, which workers share. No other pipeline uses it at the same time.
	Dir string
	// PartBytes and GroupBytes are PartBytes and Bytes of [stage.Settings].
	PartBytes, GroupBytes int64
	// Limits are how much a task has to do; the zero value is right but for tests. They change no result.
	Limits core.Limits
}

// Records drops records (PCollection<ingest.Record>, bounded, of the global window) that repeat others, or the parts of them that do, and
// returns those that are kept, with the texts that are left (PCollection<ingest.Record>), and what is dropped, which is a
// PCollection<datasets.Reject>. A Reject's Value is, where the record repeats another as a whole, the hash of that one's id: the first 16
// digits of [stage.IDHash]. Of records of equal ids one is kept, and the rule of the others is "id".
//
// It keeps as many of each kind as the steps of `adaptflow run` do. Which of them that is depends on the ids alone, by their hashes, of
// which 64 bits are compared, since records come in no order. It panics where the settings are wrong.
func Records(s beam.Scope, set Settings, records beam.PCollection) (kept, duplicates beam.PCollection) {
	s = s.Scope("dedupe.Records")
	if set.Dir == "" || len(set.Steps) == 0 {
		panic(fmt.Errorf("dedupe.Records: a folder and at least one step are wanted; have %q and %d steps", set.Dir, len(set.Steps)))
	}
	if w := records.WindowingStrategy(); w.Fn.Kind != window.GlobalWindows {
		panic(fmt.Errorf("dedupe.Records: the records are in windows of their own (%v); put them into the global one, since each is "+
			"compared with all others", w.Fn))
	}
	language := cmp.Or(set.Language, recipe.Default().Prepare.Language)
	staged := stage.Settings{Dir: storage.Join(set.Dir, "records"), PartBytes: set.PartBytes, Bytes: set.GroupBytes}
	groups := stage.Write(s, staged, records)
	for i, said := range set.Steps {
		step, err := core.Decode(said)
		if err == nil {
			if x := step.Index(); *x != (core.IndexConfig{}) {
				err = fmt.Errorf("%s: an index is read and written by adaptflow run alone; leave index_folder and save_index_folder out",
					step.Name())
			}
		}
		if err != nil {
			panic(fmt.Errorf("dedupe.Records: steps[%d]: %w", i, err))
		}
		raw, err := json.Marshal(said)
		if err != nil {
			panic(fmt.Errorf("dedupe.Records: steps[%d]: %w", i, err))
		}
		dir := storage.Join(set.Dir, fmt.Sprintf("%d-%s", i+1, step.Name()))
		plan := core.Plan{Settings: string(raw), Dir: dir, Limits: set.Limits}
		s := s.Scope(step.Name())
		groups = beam.Reshuffle(s, groups)
		done := phases(s, plan, step, beam.ParDo(s, &signRecordsFn{Settings: plan.Settings, Language: language, OutDir: dir}, groups))
		left, dropped := beam.ParDo2(s, &filterRecordsFn{Settings: plan.Settings, Language: language, OutDir: dir, Same: i == 0}, groups,
			beam.SideInput{Input: done})
		if groups = left; i == 0 {
			duplicates = dropped
		} else {
			duplicates = beam.Flatten(s, duplicates, dropped)
		}
	}
	return stage.Read(s, groups), duplicates
}

// hashedID is the ID of a record without an order of files: the first 64 bits of its id's hash.
func hashedID(hash []byte) core.ID {
	id := core.ID{File: binary.BigEndian.Uint32(hash), Doc: binary.BigEndian.Uint32(hash[4:])}
	if id == core.FromIndex {
		id.Doc = 1
	}
	return id
}

// signRecordsFn writes the keys of the records of a group as a run.
type signRecordsFn struct {
	Settings, Language, OutDir string

	sign SignFn
	work bundle.Workers[string]
}

// Setup builds the step.
func (f *signRecordsFn) Setup() error {
	f.sign = SignFn{Settings: f.Settings, Language: f.Language}
	return f.sign.Setup()
}

// StartBundle begins with no group.
func (f *signRecordsFn) StartBundle(context.Context, func(string)) { f.work.Start() }

// ProcessElement begins to sign one group.
func (f *signRecordsFn) ProcessElement(ctx context.Context, g stage.Group, _ func(string)) error {
	return f.work.Go(ctx, func() (string, error) {
		rows, err := stage.ReadGroup(g)
		if err != nil {
			return "", err
		}
		n, _, _ := f.sign.step.Layout()
		sections := make([][]byte, n)
		for i := range rows {
			hash := stage.IDHash(&rows[i])
			f.sign.step.Sign(sections, hashedID(hash[:]), rows[i].Text, f.sign.splitter)
		}
		path := RunPath(f.OutDir, g.Hash)
		return path, core.WriteRun(path, core.Width(f.sign.step), sections)
	})
}

// FinishBundle emits the paths of the runs.
func (f *signRecordsFn) FinishBundle(_ context.Context, emit func(string)) error {
	return f.work.Emit(emit)
}

// filterRecordsFn drops the records of a group that repeat others, or the parts of them that do, once all removals are found.
type filterRecordsFn struct {
	Settings, Language, OutDir string
	Same                       bool // drop records of equal ids

	step     core.Step
	splitter rules.Splitter
	removals []core.RemovalFile
}

// Setup builds the step.
func (f *filterRecordsFn) Setup() (err error) {
	if f.step, err = core.DecodeJSON(f.Settings); err != nil {
		return err
	}
	f.splitter, err = words.For(f.Language)
	return err
}

// StartBundle forgets the removals, which another attempt may have written.
func (f *filterRecordsFn) StartBundle(context.Context, func(*string) bool, func(stage.Group), func(datasets.Reject)) {
	f.removals = nil
}

// ProcessElement filters a group.
func (f *filterRecordsFn) ProcessElement(ctx context.Context, g stage.Group, _ func(*string) bool, kept func(stage.Group),
	dropped func(datasets.Reject)) (err error) {
	if f.removals == nil {
		if f.removals, err = core.ReadRemovalList(core.RemovalsPath(f.OutDir)); err != nil {
			return err
		}
	}
	rows, err := stage.ReadGroup(g)
	if err != nil {
		return err
	}
	from, err := hex.DecodeString(g.First)
	if err != nil {
		return err
	}
	to, err := hex.DecodeString(g.Last)
	if err != nil {
		return err
	}
	last := hashedID(to)
	if last == (core.ID{Doc: 1}) { // which may stand for the first of all
		last.Doc = math.MaxUint32
	}
	removals, err := core.ReadRemovals(f.removals, hashedID(from), last)
	if err != nil {
		return err
	}
	left := rows[:0:0]
	changed := false
	for i := range rows {
		e := rows[i]
		r := e.Dataset()
		if f.Same && i > 0 && e.Source == rows[i-1].Source && e.Index == rows[i-1].Index {
			f.drop(ctx, stage.Verdict{Verdict: rules.Verdict{Reason: "duplicate", Value: datasets.DocID(e.Source, e.Index),
				Threshold: "the first of its kind"}}, &r, "id", dropped)
			continue
		}
		hash := stage.IDHash(&e)
		if m := removals[hashedID(hash[:])]; m != nil {
			v := verdict(f.step, r.Text, e.Row, m, f.splitter, func(id core.ID) string { return fmt.Sprintf("%08x%08x", id.File, id.Doc) })
			if !v.Keep {
				f.drop(ctx, v, &r, f.step.Name(), dropped)
				continue
			}
			changed = v.Change(&r) || changed
			e.Text = r.Text
		}
		left = append(left, e)
	}
	meter.Add(ctx, meter.DocumentsIn, int64(len(rows)))
	meter.Add(ctx, meter.DocumentsOut, int64(len(left)))
	if changed || len(left) < len(rows) {
		if g, err = stage.WriteGroup(f.OutDir, left); err != nil {
			return err
		}
	}
	if len(left) > 0 {
		kept(g)
	}
	return nil
}

func (f *filterRecordsFn) drop(ctx context.Context, v stage.Verdict, r *datasets.Record, rule string, dropped func(datasets.Reject)) {
	meter.Rejected(ctx, map[string]int64{rule + "." + v.Reason: 1})
	dropped(v.Reject(r, rule))
}
