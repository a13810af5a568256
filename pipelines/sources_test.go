package pipelines

import (
	"slices"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
)

// TestOf: the documents of a source are taken out whole, with their labels and borders; the parts of all sources are the sequence.
func TestOf(t *testing.T) {
	q := datasets.Sequence{InputIDs: []int32{1, 2, 3, 4, 5, 6, 7}, Labels: []int32{-100, 2, 3, -100, 5, -100, 7}, DocStarts: []int32{0, 3, 5},
		DocIDs: []string{"x#0", "y#0", "x#1"}, DocSpans: [][2]int32{{0, 1}, {1, 2}, {2, 3}}, Sources: []string{"x", "y", "x"}}
	origins := map[string]string{"x": "de", "y": "fr", "z": "ja"}
	de, ok := of(&q, origins, "de")
	if !ok || !slices.Equal(de.InputIDs, []int32{1, 2, 3, 6, 7}) || !slices.Equal(de.Labels, []int32{-100, 2, 3, -100, 7}) || !slices.Equal(de.DocStarts, []int32{0, 3}) ||
		!slices.Equal(de.DocIDs, []string{"x#0", "x#1"}) || de.Validate() != nil {
		t.Errorf("%+v", de)
	}
	if fr, ok := of(&q, origins, "fr"); !ok || !slices.Equal(fr.InputIDs, []int32{4, 5}) || fr.Validate() != nil {
		t.Errorf("%+v", fr)
	}
	if _, ok := of(&q, origins, "ja"); ok {
		t.Error("a source that is not there has a part")
	}
}

func TestSourceChanges(t *testing.T) {
	s := func(p float64) *evaluate.Score { return &evaluate.Score{Perplexity: p} }
	before := &Eval{Sources: []SourceScore{{Name: "de", Score: s(9)}, {Name: "en-de", OnAnswers: true, Score: s(5), Translation: &Translation{Pairs: 3, ChrF: 1}}}}
	after := &Eval{Sources: []SourceScore{{Name: "de", Score: s(4)}, {Name: "en-de", OnAnswers: true, Score: s(2), Translation: &Translation{Pairs: 3, ChrF: 30}}}}
	m := &Metrics{}
	m.Eval.Sources = sourceChanges(before, after)
	if len(m.Eval.Sources) != 2 || m.Eval.Sources[0].After.Perplexity != 4 || m.Eval.Sources[1].Title() != "en-de (completions)" {
		t.Errorf("%+v", m.Eval.Sources)
	}
	if tr := m.Translations(); len(tr) != 1 || tr[0].Title() != "en-de (of 3)" || tr[0].Translation.After.ChrF != 30 || m.DomainName() != "all of these" {
		t.Errorf("%+v", tr)
	}
}
