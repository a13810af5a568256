package datasets

import (
	"slices"
	"testing"
)

// TestPick: the documents of a source are taken out whole, with their labels and borders; the parts of all sources are the sequence.
func TestPick(t *testing.T) {
	q := Sequence{InputIDs: []int32{1, 2, 3, 4, 5, 6, 7}, Labels: []int32{-100, 2, 3, -100, 5, -100, 7}, DocStarts: []int32{0, 3, 5},
		DocIDs: []string{"x#0", "y#0", "x#1"}, DocSpans: [][2]int32{{0, 1}, {1, 2}, {2, 3}}, Sources: []string{"x", "y", "x"}}
	origins := map[string]string{"x": "de", "y": "fr", "z": "ja"}
	of := func(name string) Sequence { return q.Pick(func(i int) bool { return origins[q.Sources[i]] == name }) }
	de := of("de")
	if !slices.Equal(de.InputIDs, []int32{1, 2, 3, 6, 7}) || !slices.Equal(de.Labels, []int32{-100, 2, 3, -100, 7}) ||
		!slices.Equal(de.DocStarts, []int32{0, 3}) ||
		!slices.Equal(de.DocIDs, []string{"x#0", "x#1"}) || de.Validate() != nil {
		t.Errorf("%+v", de)
	}
	if fr := of("fr"); !slices.Equal(fr.InputIDs, []int32{4, 5}) || fr.Validate() != nil {
		t.Errorf("%+v", fr)
	}
	if ja := of("ja"); len(ja.InputIDs) > 0 {
		t.Error("a source that is not there has a part")
	}
}

func TestCutDocID(t *testing.T) {
	for _, c := range []struct {
		source string
		index  int64
	}{{"a/b#c.jsonl", 12}, {"x", 0}} {
		if s, i := CutDocID(DocID(c.source, c.index)); s != c.source || i != c.index {
			t.Errorf("%s %d: %s %d", c.source, c.index, s, i)
		}
	}
	if s, i := CutDocID("no index"); s != "no index" || i != 0 {
		t.Error(s, i)
	}
}
