package continual

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

func sequence(n int32) datasets.Sequence {
	return datasets.Sequence{InputIDs: []int32{1, n, 2}, Labels: []int32{datasets.NoLoss, n, 2}, DocStarts: []int32{0},
		DocIDs: []string{"a#0"}, DocSpans: [][2]int32{{0, 3}}, Sources: []string{"a"}}
}

func fill(r *Reservoir, from, to int32, backwards bool) *Reservoir {
	for i := from; i < to; i++ {
		n := i
		if backwards {
			n = from + to - 1 - i
		}
		r.Add(sequence(n))
	}
	return r
}

func tokens(seqs []datasets.Sequence) (out []int32) {
	for _, q := range seqs {
		out = append(out, q.InputIDs[1])
	}
	return out
}

// TestReservoir: the sample does not depend on order, repetitions or on being written between increments, is bounded, and is of all that
// came.
func TestReservoir(t *testing.T) {
	whole := fill(NewReservoir(40, 7), 0, 400, false)
	if whole.Len() != 40 {
		t.Fatal(whole.Len())
	}
	if back := fill(fill(NewReservoir(40, 7), 0, 400, true), 0, 400, false); !reflect.DeepEqual(back.Sequences(), whole.Sequences()) {
		t.Error("the order of additions or repetitions change the sample")
	}
	path := filepath.Join(t.TempDir(), "replay.parquet")
	part := fill(NewReservoir(40, 7), 0, 150, false)
	if _, err := WriteSequences(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: 3}, part.Sequences()); err != nil {
		t.Fatal(err)
	}
	again := NewReservoir(40, 7)
	if err := again.Read(path); err != nil {
		t.Fatal(err)
	}
	if fill(again, 150, 400, false); !slices.Equal(tokens(again.Sequences()), tokens(whole.Sequences())) {
		t.Error("a reservoir that was written and read again goes on otherwise")
	}
	if other := fill(NewReservoir(40, 8), 0, 400, false); slices.Equal(tokens(other.Sequences()), tokens(whole.Sequences())) {
		t.Error("the seed changes nothing")
	}
	// A uniform sample of 400 has some of each quarter: none of one has a probability below 1e-5.
	for quarter := range int32(4) {
		n := 0
		for _, x := range tokens(whole.Sequences()) {
			if x/100 == quarter {
				n++
			}
		}
		if n < 2 || n > 25 {
			t.Errorf("quarter %d has %d of 40", quarter, n)
		}
	}
	if err := again.Read(filepath.Join(t.TempDir(), "gone.parquet")); err == nil {
		t.Error("a missing file is not an error")
	}
}

func TestSample(t *testing.T) {
	r := fill(NewReservoir(100, 7), 0, 100, false)
	a, b := tokens(r.Sample(10, 3)), tokens(r.Sample(10, 4))
	if len(a) != 10 || slices.Equal(a, b) || !slices.Equal(a, tokens(r.Sample(10, 3))) {
		t.Error(a, b)
	}
	if n := len(r.Sample(1000, 1)); n != 100 {
		t.Error(n)
	}
	for _, c := range []struct {
		n        int
		fraction float64
		want     int
	}{{30, 0.25, 10}, {30, 0, 0}, {30, 0.5, 30}, {1000, 0.5, 100}, {1, 0.3, 0}} {
		if got := r.Replays(c.n, c.fraction); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
