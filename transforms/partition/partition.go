// Package partition brings records together that lie in any number of files, by their place: what a GroupByKey does, while nothing but
// references ([parts.Slice]) passes through shuffles. Level by level the files of a range of places that is too large to be held are cut by
// the next 8 bits of the places, 256 ways, until each range is small.
//
// Of N bytes of records in n files, with parts of P bytes and L = ⌈log₂₅₆ N/P⌉ levels that have something to do, the levels and who reads
// the result open at most n + 256·L·N/P + 256·[rootTasks] files in kind: a task takes half as much again as P at most, and 4096 files, and
// a range that is a little larger than the tasks that it is cut by makes one more of them. Each level reads and writes N bytes.
package partition

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets/parts"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/bundle"
)

func init() {
	beam.RegisterType(reflect.TypeFor[parts.Slice]())
	beam.RegisterFunction(keyed)
	beam.RegisterDoFn(&planFn{})
	beam.RegisterDoFn(&cutFn{})
	register.Emitter1[string]()
	register.Emitter2[int64, parts.Slice]()
	register.Iter1[parts.Slice]()
}

// Settings say how [Split] cuts.
type Settings struct {
	// Dir is the folder or URI of the files that the levels write, as NAME-LEVEL-KEY-TASK.parts: no other use of the folder has the Name.
	Dir, Name string
	// PartBytes is what a range has at most, in bytes of records ([parts.Slice.Bytes]), 0 for 256 MiB.
	PartBytes int64
	// Levels is how often files may be cut, 0 for 4. The graph has all of them; one where nothing is to be cut hands references on.
	Levels int
	// Bits is how many of the first bits of a place ranges may be cut by, a multiple of 8, 0 for all that there are ([parts.MaxBits]).
	Bits int
	// Distinct leaves out records that are equal, of those that one task reads. Who reads the result may still find some twice.
	Distinct bool
}

const (
	defaultPartBytes = 256 << 20
	defaultLevels    = 4
	// rootTasks is how many tasks the first level has at least, of smallTask bytes each or more, so that what is small is cut by all
	// processors, and is brought together by all of them: what is smaller than one such task stays one range.
	rootTasks = 16
	smallTask = 4 << 20
	// taskSlices is how many slices a task reads at most.
	taskSlices = 4096
)

// Split brings slices (PCollection<parts.Slice>, of files whose ranges are the same or do not overlap, as all of [parts.Root]) together and
// returns references by range (PCollection<KV<int64, parts.Slice>>). A GroupByKey of the result has for each key the slices of one range
// of places, which hold at most PartBytes together unless Levels or Bits end before, and all records of that range: [parts.Range] gives
// it. Ranges do not overlap, and their keys have their order. What is returned depends on the set of slices and the settings alone, not
// on the order of slices or on bundles. Settings without a folder or a name panic.
func Split(s beam.Scope, set Settings, all beam.PCollection) beam.PCollection {
	if set.Dir == "" || set.Name == "" || set.PartBytes < 0 || set.Levels < 0 || set.Bits < 0 || set.Bits > parts.MaxBits ||
		set.Bits%8 != 0 {
		panic(fmt.Errorf("partition.Split: %+v: a folder and a name are wanted, no number below 0, and bits by 8 up to %d", set,
			parts.MaxBits))
	}
	s = s.Scope("partition.Split")
	set.PartBytes, set.Bits = cmp.Or(set.PartBytes, defaultPartBytes), cmp.Or(set.Bits, parts.MaxBits)
	by := beam.ParDo(s, keyed, all)
	for level := range cmp.Or(set.Levels, defaultLevels) {
		tasks := beam.ParDo(s, &planFn{Settings: set, Level: level}, beam.GroupByKey(s, by))
		by = beam.ParDo(s, &cutFn{Distinct: set.Distinct}, beam.Reshuffle(s, tasks))
	}
	return by
}

func keyed(s parts.Slice) (int64, parts.Slice) { return s.Key, s }

// task is the work of one element: to hand slices on, or to cut them by writing their records to a file. It travels as JSON: it has a list.
type task struct {
	Out    string        `json:"out,omitempty"` // the file; "" to hand the slices on
	Key    int64         `json:"key"`
	Slices []parts.Slice `json:"slices"`
}

// bytes is what the records of the task take in memory, with what is read of them.
func (t *task) bytes() (n int64) {
	for i := range t.Slices {
		n += t.Slices[i].Bytes
		if t.Slices[i].Zstd {
			n += t.Slices[i].Len
		}
	}
	return n
}

// planFn decides what becomes of a range.
type planFn struct {
	Settings Settings
	Level    int
}

// ProcessElement emits the tasks of a range.
func (f *planFn) ProcessElement(key int64, in func(*parts.Slice) bool, emit func(string)) error {
	var all []parts.Slice
	for s := (parts.Slice{}); in(&s); s = (parts.Slice{}) {
		all = append(all, s)
	}
	for _, t := range f.plan(key, all) {
		raw, err := json.Marshal(&t)
		if err != nil {
			return err
		}
		emit(string(raw))
	}
	return nil
}

// plan makes the tasks of a range, which do not depend on the order of its slices.
func (f *planFn) plan(key int64, all []parts.Slice) (tasks []task) {
	slices.SortFunc(all, func(a, b parts.Slice) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Off, b.Off)) })
	total := int64(0)
	for i := range all {
		total += all[i].Bytes
	}
	most, enough := f.Settings.PartBytes, f.Settings.PartBytes // of a task, and of a range that is not cut
	if f.Level == 0 {
		enough = min(enough, smallTask)
		most = min(most, max(smallTask, total/rootTasks))
	}
	if total <= enough || parts.Bits(key) >= f.Settings.Bits {
		for from := 0; from < len(all); from += taskSlices {
			tasks = append(tasks, task{Key: key, Slices: all[from:min(from+taskSlices, len(all))]})
		}
		return tasks
	}
	// As many tasks as there are of the full size, to the nearest, of one size: one more would be 256 slices more.
	each := total / max(1, (total+most/2)/most)
	held := int64(0)
	for _, s := range all {
		if n := len(tasks); n == 0 || held >= each || held+s.Bytes > most+most/2 || len(tasks[n-1].Slices) == taskSlices {
			tasks = append(tasks, task{Key: key,
				Out: storage.Join(f.Settings.Dir, fmt.Sprintf("%s-%d-%016x-%05d.parts", f.Settings.Name, f.Level, key, n))})
			held = 0
		}
		t := &tasks[len(tasks)-1]
		t.Slices, held = append(t.Slices, s), held+s.Bytes
	}
	return tasks
}

// cutFn does tasks.
type cutFn struct {
	Distinct bool

	work bundle.Workers[[]parts.Slice]
}

// StartBundle begins with no task.
func (f *cutFn) StartBundle(context.Context, func(int64, parts.Slice)) { f.work.Start() }

// ProcessElement begins a task.
func (f *cutFn) ProcessElement(ctx context.Context, raw string, _ func(int64, parts.Slice)) error {
	return f.work.Go(ctx, func() ([]parts.Slice, error) {
		var t task
		if err := json.Unmarshal([]byte(raw), &t); err != nil {
			return nil, fmt.Errorf("partition: a task: %w", err)
		}
		if t.Out == "" {
			return t.Slices, nil
		}
		return t.cut(ctx, f.Distinct)
	})
}

// FinishBundle emits the slices by their ranges.
func (f *cutFn) FinishBundle(_ context.Context, emit func(int64, parts.Slice)) error {
	return f.work.Emit(func(all []parts.Slice) {
		for _, s := range all {
			emit(s.Key, s)
		}
	})
}

// cut writes the records of the task's slices as one file, which is cut by their next bits.
func (t *task) cut(ctx context.Context, distinct bool) ([]parts.Slice, error) {
	release, err := Hold(ctx, t.bytes())
	if err != nil {
		return nil, err
	}
	defer release()
	lists, err := parts.ReadAll(t.Slices)
	if err != nil {
		return nil, err
	}
	w, err := parts.Create(t.Out, t.Key, int(t.Slices[0].Width))
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if err := w.WriteAll(parts.Merge(lists...), distinct); err != nil {
		return nil, err
	}
	all, _, err := w.Close()
	return all, err
}
