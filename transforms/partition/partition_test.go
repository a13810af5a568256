package partition

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets/parts"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

func init() {
	beam.RegisterDoFn(&rangeFn{})
	register.Iter1[parts.Slice]()
}

// part is a range of the result.
type part struct {
	Key    int64
	Slices []parts.Slice
}

// rangeFn gives what was grouped by a key as JSON.
type rangeFn struct{}

func (*rangeFn) ProcessElement(key int64, in func(*parts.Slice) bool) (string, error) {
	p := part{Key: key}
	for s := (parts.Slice{}); in(&s); s = (parts.Slice{}) {
		p.Slices = append(p.Slices, s)
	}
	slices.SortFunc(p.Slices, func(a, b parts.Slice) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Off, b.Off)) })
	b, err := json.Marshal(p)
	return string(b), err
}

// split runs the pipeline and gives the ranges by key.
func split(t *testing.T, set Settings, in []parts.Slice) (out []part) {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	grouped := beam.ParDo(s, &rangeFn{}, beam.GroupByKey(s, Split(s, set, beam.Reshuffle(s, beam.CreateList(s, in)))))
	got := jobstest.Collect(s, grouped)
	if err := jobs.Prism(t.Context(), p, "partition"); err != nil {
		t.Fatal(err)
	}
	for _, e := range got() {
		var one part
		if err := json.Unmarshal([]byte(e.Value.(string)), &one); err != nil {
			t.Fatal(err)
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b part) int { return cmp.Compare(a.Key, b.Key) })
	return out
}

// place is that of a record by the kind of its set.
func place(kind string, i int) uint64 {
	u := rand.New(rand.NewPCG(uint64(i), 7)).Uint64()
	switch {
	case kind == "skewed" && i%10 < 7: // most records lie in one 65536th of the places
		return 0xabcd<<48 | u>>16
	case kind == "one" && i%10 < 7: // most records have one place
		return 0xabcdef << 40
	}
	return u
}

// files writes n records of a kind in files of at most each records, with the number of a record as its bytes.
func files(t *testing.T, kind string, n, each int) (out []parts.Slice) {
	t.Helper()
	dir := t.TempDir()
	for from := 0; from < n; from += each {
		set := parts.NewSet(24)
		for i := from; i < min(from+each, n); i++ {
			set.Add(place(kind, i), binary.BigEndian.AppendUint64(make([]byte, 16), uint64(i)))
		}
		_, whole, err := set.Write(filepath.Join(dir, fmt.Sprintf("%05d.parts", from/each)), parts.Root, false)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, whole)
	}
	return out
}

// TestSplit: every record comes out once and in its range; ranges do not overlap, have the order of their keys, and are no larger than said
// unless they were cut as often as may be; nothing depends on the order of slices; what is opened keeps to the formula, and the graph does
// not grow.
func TestSplit(t *testing.T) {
	const n, width = 20000, 32 // bytes of a record in memory
	for _, c := range []struct {
		kind   string
		levels int
		bytes  int64 // of a part
		used   int   // levels that have something to do
	}{
		{"uniform", 1, 16 << 10, 1},
		{"uniform", 3, 16 << 10, 1},
		{"uniform", 3, 2 << 10, 2},
		{"skewed", 1, 8 << 10, 1},
		{"skewed", 3, 8 << 10, 3},
		{"one", 3, 8 << 10, 3},
		{"uniform", 3, 64 << 20, 0}, // less than a task: one range
	} {
		t.Run(fmt.Sprintf("%s-%d-%d", c.kind, c.levels, c.bytes), func(t *testing.T) {
			in := files(t, c.kind, n, 500)
			set := Settings{Dir: t.TempDir(), Name: "x", PartBytes: c.bytes, Levels: c.levels}
			opens := storage.Opens()
			out := split(t, set, in)
			seen, last := make([]bool, n), uint64(0)
			for k, p := range out {
				first, to := parts.Range(p.Key)
				if k > 0 && first <= last {
					t.Errorf("the range from %x overlaps the one before", first)
				}
				last = to
				lists, err := parts.ReadAll(p.Slices)
				if err != nil {
					t.Fatal(err)
				}
				held := int64(0)
				for _, s := range p.Slices {
					held += s.Bytes
				}
				if held > c.bytes && parts.Bits(p.Key) < 8*c.levels {
					t.Errorf("the range from %x has %d bytes", first, held)
				}
				for at, b := range parts.Merge(lists...) {
					i := int(binary.BigEndian.Uint64(b[16:]))
					if seen[i] || at != place(c.kind, i) || at < first || at > to {
						t.Fatalf("record %d of place %x in the range %x to %x", i, at, first, to)
					}
					seen[i] = true
				}
			}
			if slices.Contains(seen, false) {
				t.Error("a record was lost")
			}
			if (len(out) == 1) != (c.used == 0) {
				t.Errorf("%d ranges", len(out))
			}
			got, most := storage.Opens()-opens, int64(len(in))+256*int64(c.used)*n*width/c.bytes+256*rootTasks
			if got > most {
				t.Errorf("%d opens, %d is the most", got, most)
			}
			other := slices.Clone(in)
			rand.Shuffle(len(other), func(i, k int) { other[i], other[k] = other[k], other[i] })
			dir := set.Dir
			set.Dir = t.TempDir()
			again := split(t, set, other)
			for i := range again {
				for k := range again[i].Slices {
					s := &again[i].Slices[k]
					if rel, err := filepath.Rel(set.Dir, s.Path); err == nil && filepath.Base(rel) == rel {
						s.Path = filepath.Join(dir, rel)
					}
				}
			}
			a, _ := json.Marshal(out)
			if b, _ := json.Marshal(again); string(a) != string(b) {
				t.Error("another order of the slices gives other ranges")
			}
		})
	}
}

// TestDistinct: equal records of a task are one.
func TestDistinct(t *testing.T) {
	in := files(t, "uniform", 2000, 2000)
	out := split(t, Settings{Dir: t.TempDir(), Name: "x", PartBytes: 1 << 20, Distinct: true, Levels: 1}, []parts.Slice{in[0]})
	if len(out) != 1 {
		t.Fatal(len(out))
	}
	twice := in[0]
	twice.Path = filepath.Join(t.TempDir(), "copy.parts")
	b, err := os.ReadFile(in[0].Path)
	if err == nil {
		err = os.WriteFile(twice.Path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, p := range split(t, Settings{Dir: t.TempDir(), Name: "x", PartBytes: 100 << 10, Distinct: true}, []parts.Slice{in[0], twice}) {
		for _, s := range p.Slices {
			total += s.Records
		}
	}
	if total != 2000 {
		t.Errorf("%d records of 2000 different ones", total)
	}
}

// TestPlan: a task has at most half as much again as a part, and so many slices; the first level makes enough of them for all processors.
func TestPlan(t *testing.T) {
	var all []parts.Slice
	for i := range 10000 {
		all = append(all, parts.Slice{Path: fmt.Sprint(i), Bytes: int64(i%7) * 1000})
	}
	for level, want := range map[int][2]int{0: {3, 8}, 1: {3, 4}} {
		f := &planFn{Settings: Settings{PartBytes: 1 << 30, Bits: parts.MaxBits, Dir: "d", Name: "n"}, Level: level}
		if level == 1 {
			f.Settings.PartBytes = 8 << 20
		}
		n := 0
		tasks := f.plan(parts.Root, slices.Clone(all))
		for _, k := range tasks {
			n += len(k.Slices)
			if k.Out == "" || k.bytes() > f.Settings.PartBytes*3/2 || len(k.Slices) > taskSlices {
				t.Errorf("level %d: %d slices of %d bytes for %q", level, len(k.Slices), k.bytes(), k.Out)
			}
		}
		if n != len(all) || len(tasks) < want[0] || len(tasks) > want[1] {
			t.Errorf("level %d: %d tasks of %d slices", level, len(tasks), n)
		}
	}
	for _, bits := range []int{8, parts.MaxBits} { // small slices, handed on and cut
		f := &planFn{Settings: Settings{PartBytes: 20 << 20, Bits: bits, Dir: "d", Name: "n"}, Level: 1}
		for _, k := range f.plan(parts.Key(0, 8), slices.Clone(all)) {
			if len(k.Slices) > taskSlices || (k.Out == "") != (bits == 8) {
				t.Errorf("%d slices in a task for %q", len(k.Slices), k.Out)
			}
		}
	}
}

// TestHold: no more is held at once than may be, and more than that alone.
func TestHold(t *testing.T) {
	var now, most atomic.Int64
	done := make(chan struct{})
	for i := range 40 {
		go func() {
			defer func() { done <- struct{}{} }()
			n := int64(i+1) << 24 // up to 640 MiB
			release, err := Hold(context.Background(), n)
			if err != nil {
				t.Error(err)
				return
			}
			n = min(n, heldBytes)
			if v := now.Add(n); v > most.Load() {
				most.Store(v)
			}
			time.Sleep(time.Millisecond)
			now.Add(-n)
			release()
			release() // twice is once
		}()
	}
	for range 40 {
		<-done
	}
	if most.Load() > heldBytes {
		t.Errorf("%d bytes at once", most.Load())
	}
	ctx, cancel := context.WithCancel(context.Background())
	release, err := Hold(ctx, heldBytes)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	cancel()
	if _, err := Hold(ctx, 1); err == nil {
		t.Error("more is held after the end")
	}
}
