package dedupe

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// TestTasks: the tasks over ranges and parts find the clusters that uniting all links in memory finds, whatever the ranges and parts, and
// the documents kept are the same.
func TestTasks(t *testing.T) {
	s := NewMinHashStep()
	s.NumBuckets, s.HashesPerBucket = 3, 1
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var buckets [3][]Signed
	var docs []ID
	var runs [][][]byte
	for f := range uint32(4) {
		var sections [][]byte
		for d := range uint32(120) {
			if d%10 == 0 {
				sections = make([][]byte, 3)
				runs = append(runs, sections)
			}
			id := ID{f + 1, d}
			docs = append(docs, id)
			for k := range buckets {
				band := []uint64{rng.Uint64N(1500)}
				buckets[k] = append(buckets[k], Signed{band, id})
				sections[k] = appendID(append(sections[k], 0, 0, 0, 0, 0, 0, byte(band[0]>>8), byte(band[0])), id)
			}
		}
	}
	var pairs []Pair
	for k := range buckets {
		pairs = append(pairs, Pairs(buckets[k])...)
	}
	want := map[ID]ID{}
	for _, c := range Clusters(pairs) {
		for _, id := range c.IDs {
			if id != c.Kept {
				want[id] = c.Kept
			}
		}
	}
	for what, limits := range map[string]Limits{
		"as they are":                     {},
		"many ranges, parts and files":    {RangeRecords: 50, PartLinks: 40, SpillBytes: 1000, FileRemovals: 10},
		"spilling each":                   {RangeRecords: 60, PartLinks: 60, SpillBytes: 200},
		"gathered":                        {Fan: 10, RangeRecords: 37, PartLinks: 60},
		"gathered and spread":             {Fan: 6, RangeRecords: 37, PartLinks: 60, FileRemovals: 7},
		"spread from each run to another": {Fan: 1, RangeRecords: 200},
		"one round":                       {Rounds: 1, PartLinks: 50},
		"one round of many parts":         {Rounds: 1, PartLinks: 20, SpillBytes: 64, RangeRecords: 100},
	} {
		dir := t.TempDir()
		p := Plan{Dir: dir, Limits: limits}
		var paths []string
		for i, sections := range runs {
			path := filepath.Join(dir, fmt.Sprintf("r%d.run", i))
			var own [][]byte
			for _, x := range sections {
				own = append(own, slices.Clone(x))
			}
			if err := WriteRun(path, Width(s), own); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		tasks := find(t, p, s, paths)
		files, err := ReadRemovalList(RemovalsPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for f := range uint32(4) {
			m, err := ReadRemovals(files, ID{f + 1, 0}, ID{f + 1, math.MaxUint32})
			if err != nil {
				t.Fatal(err)
			}
			for id, r := range m {
				got++
				if want[id] != r.Kept {
					t.Errorf("%s: %v is removed for %v, want %v", what, id, r.Kept, want[id])
				}
			}
		}
		if got != len(want) {
			t.Errorf("%s: %d removed, want %d", what, got, len(want))
		}
		if round := "large-7:1"; !slices.Contains(tasks, round) {
			t.Errorf("%s: not ended before the last round: %v", what, tasks)
		}
		t.Logf("%s: tasks %v, %d files, %d of %d removed", what, tasks, len(files), got, len(docs))
	}
}

// find does all phases, one task after another and each twice, with what they return in any order.
func find(t testing.TB, p Plan, s Step, before []string) (tasks []string) {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, ph := range Phases(s) {
		rng.Shuffle(len(before), func(i, j int) { before[i], before[j] = before[j], before[i] })
		planned, err := ph.Begin(p, s, before)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, fmt.Sprintf("%s:%d", ph.Name, len(planned)))
		before = nil
		for _, text := range planned {
			again, err := ph.Do(p, s, text)
			if err != nil {
				t.Fatal(err)
			}
			done, err := ph.Do(p, s, text)
			if err != nil || done != again {
				t.Fatalf("%s, done twice: %v, %q and %q", ph.Name, err, again, done)
			}
			before = append(before, done)
		}
	}
	return tasks
}

// TestFirsts: of a key's occurrences all but the first are removed, whatever the ranges, and an index counts as the first.
func TestFirsts(t *testing.T) {
	s := NewParagraphs()
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	var all []Hashed
	var runs [][]byte
	for f := range uint32(30) {
		var run []byte
		for d := range uint32(20) {
			for k := range rng.Uint32N(4) {
				h := Hashed{rng.Uint64N(400) << 52, ID{f + 1, d}, k}
				all = append(all, h)
				run = appendHashed(run, h.Hash, h.ID, h.Part)
			}
		}
		runs = append(runs, run)
	}
	seen := []uint64{7 << 52, 300 << 52}
	var index []byte
	for _, h := range seen {
		index = appendHashed(index, h, FromIndex, 0)
	}
	first := map[uint64]ID{}
	want := map[Hashed]ID{}
	for _, d := range Duplicates(append([]Hashed{{Hash: seen[0]}, {Hash: seen[1]}}, all...)) {
		want[d] = FromIndex
	}
	for _, h := range all { // sorted by what comes first by Duplicates, of a copy
		if _, ok := want[h]; !ok {
			first[h.Hash] = h.ID
		}
	}
	for h := range want {
		if !slices.Contains(seen, h.Hash) {
			want[h] = first[h.Hash]
		}
	}
	for what, limits := range map[string]Limits{
		"as they are": {},
		"gathered":    {Fan: 8, RangeRecords: 40, FileRemovals: 30},
		"spread":      {Fan: 4, RangeRecords: 40, FileRemovals: 30, SpillBytes: 300},
	} {
		dir := t.TempDir()
		p := Plan{Dir: dir, Limits: limits, Index: true, Save: filepath.Join(dir, "saved")}
		if err := p.WriteIndexList([]string{filepath.Join(dir, "index.run")}); err != nil {
			t.Fatal(err)
		}
		var paths []string
		for i, r := range append(slices.Clone(runs), index) {
			path := filepath.Join(dir, fmt.Sprintf("r%d.run", i))
			if i == len(runs) {
				path = filepath.Join(dir, "index.run")
			} else {
				paths = append(paths, path)
			}
			if err := WriteRun(path, Width(s), [][]byte{slices.Clone(r)}); err != nil {
				t.Fatal(err)
			}
		}
		find(t, p, s, paths)
		files, err := ReadRemovalList(RemovalsPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for f := range uint32(30) {
			for d := range uint32(20) { // one document at a time, each from one file
				before := storage.Opens()
				m, err := ReadRemovals(files, ID{f + 1, d}, ID{f + 1, d})
				if n := storage.Opens() - before; err != nil || n > 1 {
					t.Fatalf("%d files opened, %v", n, err)
				}
				for id, r := range m {
					kept := ID{math.MaxUint32, 0}
					for _, h := range all {
						if h.ID == id && slices.Contains(r.Parts, h.Part) {
							of, ok := want[h]
							if !ok {
								t.Errorf("%s: %v is removed", what, h)
							}
							if of.Compare(kept) < 0 {
								kept = of
							}
							got++
						}
					}
					if kept != r.Kept {
						t.Errorf("%s: %v is removed for %v, want %v", what, id, r.Kept, kept)
					}
				}
			}
		}
		if got != len(want) {
			t.Errorf("%s: %d removed, want %d", what, got, len(want))
		}
		keys := map[uint64]bool{}
		saved, _ := filepath.Glob(filepath.Join(p.Save, "keys-*.run"))
		n := 0
		if err := each(saved, Width(s), span{sections: 1, to: 1}, func(_ int, rec []byte) error {
			if readID(rec[8:]) != FromIndex {
				t.Errorf("%s: %x in the index", what, rec)
			}
			keys[prefix(rec)] = true
			n++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		hashes := map[uint64]bool{seen[0]: true, seen[1]: true}
		for _, h := range all {
			hashes[h.Hash] = true
		}
		if n != len(hashes) || len(keys) != n {
			t.Errorf("%s: the index has %d keys, %d different ones, want %d", what, n, len(keys), len(hashes))
		}
		t.Logf("%s: %d files of removals, %d of the index", what, len(files), len(saved))
	}
}

// TestEndIsBounded: more links than may be left are refused, before they are held.
func TestEndIsBounded(t *testing.T) {
	s := NewMinHashStep()
	s.NumBuckets, s.HashesPerBucket = 2, 1
	if err := s.Prepare(); err != nil {
		t.Fatal(err)
	}
	sections := make([][]byte, 2)
	for d := range uint32(300) { // a path, whose documents come in no order
		for k := range sections {
			key := binary.BigEndian.AppendUint64(nil, uint64(d+uint32(k))/2)
			sections[k] = appendID(append(sections[k], key...), ID{1, d * 7919 % 300})
		}
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "r.run")
	if err := WriteRun(path, Width(s), sections); err != nil {
		t.Fatal(err)
	}
	run := func(l Limits) (err error) {
		before := []string{path}
		for _, ph := range Phases(s) {
			planned, err := ph.Begin(Plan{Dir: dir, Limits: l}, s, before)
			if err != nil {
				return err
			}
			before = nil
			for _, text := range planned {
				done, err := ph.Do(Plan{Dir: dir, Limits: l}, s, text)
				if err != nil {
					return err
				}
				before = append(before, done)
			}
		}
		return nil
	}
	if err := run(Limits{Rounds: 1, EndLinks: 20}); err == nil || !strings.Contains(err.Error(), "more than 20 links") {
		t.Errorf("%v", err)
	}
	for _, l := range []Limits{{Rounds: 1}, {Rounds: 2}, {}} {
		if err := run(l); err != nil {
			t.Fatal(err)
		}
		files, err := ReadRemovalList(RemovalsPath(dir))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := ReadRemovals(files, ID{}, ID{math.MaxUint32, math.MaxUint32}); err != nil || len(m) != 299 {
			t.Errorf("%+v: %d removed of one cluster of 300, %v", l, len(m), err)
		}
	}
}

func TestRunRefusesDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.run")
	if err := WriteRun(path, 4, [][]byte{[]byte("bbbbaaaabbbb"), nil}); err != nil {
		t.Fatal(err)
	}
	f, err := OpenRun(path, 4)
	if err != nil || f.Count(0) != 2 || f.Count(1) != 0 {
		t.Fatal(err)
	}
	if b, err := f.Range(nil, 0, []byte("b"), nil); err != nil || string(b) != "bbbb" {
		t.Errorf("%q, %v", b, err)
	}
	f.Close()
	if _, err := OpenRun(path, 8); err == nil {
		t.Error("another width is read")
	}
}
