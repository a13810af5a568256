package pipelines

import (
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

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
