package dedupe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
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
		sections := make([][]byte, 3)
		for d := range uint32(120) {
			id := ID{f + 1, d}
			docs = append(docs, id)
			for k := range buckets {
				band := []uint64{rng.Uint64N(1500)}
				buckets[k] = append(buckets[k], Signed{band, id})
				sections[k] = appendID(append(sections[k], 0, 0, 0, 0, 0, 0, byte(band[0]>>8), byte(band[0])), id)
			}
		}
		runs = append(runs, sections)
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
	for _, c := range []struct{ size, parts int }{{1000, 1}, {50, 1}, {37, 5}, {1, 3}} {
		dir := t.TempDir()
		p := Plan{Dir: dir, Parts: c.parts}
		for i, sections := range runs {
			path := filepath.Join(dir, fmt.Sprintf("r%d.run", i))
			var own [][]byte
			for _, x := range sections {
				own = append(own, slices.Clone(x))
			}
			if err := WriteRun(path, Width(s), own); err != nil {
				t.Fatal(err)
			}
			p.Runs = append(p.Runs, path)
		}
		ranges, err := p.ranges(s, c.size)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range ranges {
			if _, err := p.Merge(s, r); err != nil {
				t.Fatal(err)
			}
		}
		round := 0
		for before := (Fingerprint{}); ; round++ {
			var now Fingerprint
			for k := range c.parts {
				fp, err := p.Large(round, ranges, k)
				if err != nil {
					t.Fatal(err)
				}
				now.Count += fp.Count
				now.Sum += fp.Sum
			}
			for k := range c.parts {
				if err := p.Small(round, k); err != nil {
					t.Fatal(err)
				}
			}
			if round > 0 && now == before {
				break
			}
			before = now
		}
		var removed []string
		for k := range c.parts {
			if err := p.Join(round, ranges, k); err != nil {
				t.Fatal(err)
			}
		}
		for k := range c.parts {
			path, err := p.Roots(k)
			if err != nil {
				t.Fatal(err)
			}
			removed = append(removed, path)
		}
		got := 0
		for f := range uint32(4) {
			m, err := ReadRemovals(removed, f+1, 0, math.MaxUint32)
			if err != nil {
				t.Fatal(err)
			}
			for d, r := range m {
				got++
				if want[ID{f + 1, d}] != r.Kept {
					t.Errorf("size %d, %d parts: %v is removed for %v, want %v", c.size, c.parts, ID{f + 1, d}, r.Kept, want[ID{f + 1, d}])
				}
			}
		}
		if got != len(want) {
			t.Errorf("size %d, %d parts: %d removed, want %d", c.size, c.parts, got, len(want))
		}
		t.Logf("size %d: %d ranges, %d parts, %d rounds, %d of %d removed", c.size, len(ranges), c.parts, round, got, len(docs))
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
