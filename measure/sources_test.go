package measure

import (
	"math"
	"testing"

	"github.com/adaptflow/adaptflow/evaluate"
)

func TestSourceChanges(t *testing.T) {
	s := func(p float64) *evaluate.Score { return &evaluate.Score{Perplexity: p} }
	before := &Results{Sources: []SourceScore{{Name: "de", Score: s(9)},
		{Name: "en-de", OnAnswers: true, Score: s(5), Translation: &Translation{Pairs: 3, ChrF: 1}}}}
	after := &Results{Sources: []SourceScore{{Name: "de", Score: s(4)},
		{Name: "en-de", OnAnswers: true, Score: s(2), Translation: &Translation{Pairs: 3, ChrF: 30}}}}
	c := Compare(before, after)
	if len(c.Sources) != 2 || c.Sources[0].After.Perplexity != 4 || !c.Sources[1].OnAnswers {
		t.Errorf("%+v", c.Sources)
	}
	tables := Sections(&c)
	if len(tables) != 2 || tables[0].Rows[1].Name != "en-de (completions)" || tables[1].Title != "chrF" ||
		tables[1].Rows[0].Name != "en-de (of 3)" ||
		tables[1].Rows[0].After != 30 {
		t.Errorf("%+v", tables)
	}
}

// TestChangesOfNamedSources: sources are paired by name, also where what an earlier version measured before training lacks one.
func TestChangesOfNamedSources(t *testing.T) {
	none, score := evaluate.NoScore("all rejected"), evaluate.NewScore(2, 1, evaluate.Text{})
	before := &Results{Sources: []SourceScore{{Name: "b", Score: &score}}}
	after := &Results{Sources: []SourceScore{{Name: "a", Score: &none}, {Name: "b", Score: &score}}}
	got := sourceChanges(before, after)
	if len(got) != 1 || got[0].Name != "b" || got[0].After.NLL != 2 {
		t.Errorf("%+v", got)
	}
	if got := sourceChanges(after, after); len(got) != 2 || !math.IsNaN(got[0].After.Perplexity) || got[0].After.Reason != "all rejected" {
		t.Errorf("%+v", got)
	}
}
