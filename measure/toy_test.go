package measure

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// words is a toy measure: how many words the model says to a prompt. It is this and the row that TestToyMeasure adds.
var words = Measure{
	Name:    "words",
	Doc:     "how many words the model says",
	Title:   func(*Results) string { return "words" },
	Columns: []Column{{Name: "words", Format: "%.1f", Better: Higher}, {Name: "a letter", Format: "%.2f", Better: Lower, Show: OnPage}},
	When:    func(in *Input) bool { return len(in.Config.Prompts) > 0 },
	Run: func(_ context.Context, in *Input, out *Results) error {
		for _, p := range in.Config.Prompts {
			c, err := in.Model.Generate(p, in.Config.sampling(in.Seed), nil)
			if err != nil {
				return err
			}
			n := float64(len(strings.Fields(c.Text)))
			out.Add(in.Row, Line{Name: p, Numbers: Numbers{"words": n, "a letter": n / float64(max(1, len(c.Text)))}})
		}
		return nil
	},
}

// TestToyMeasure: a new measure is a file and a row. It is measured, recorded, read again, and printed wherever measures are.
func TestToyMeasure(t *testing.T) {
	was := Measures
	defer func() { Measures = was }()
	Measures = append(Measures[:len(Measures):len(Measures)], &words)
	in := held(t, [2]string{"The quick brown fox jumps over the lazy dog", ""})
	in.Config.Prompts = []string{"A file is", "The city"}
	r, err := Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if l := r.More["words"]; len(l) != 2 || l[1].Name != "The city" || l[1].Numbers["words"] == 0 {
		t.Fatalf("%+v", r.More)
	}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	again := &Results{}
	if err := json.Unmarshal(raw, again); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("recorded as %s it is read as %+v, %v", raw, again, err)
	}
	c := Compare(r, r)
	if raw, err = json.Marshal(&c); err != nil || !strings.Contains(string(raw), `"words":{"before":[{"name":"A file is"`) {
		t.Errorf("%s, %v", raw, err)
	}
	back := Changes{}
	if err := json.Unmarshal(raw, &back); err != nil || !reflect.DeepEqual(back.More, c.More) || back.Domain == nil {
		t.Errorf("%+v, %v", back, err)
	}
	var table bytes.Buffer
	Print(&table, Sections(&back))
	if !strings.Contains(table.String(), "\n\n  words                          before        after       change\n") ||
		!strings.Contains(table.String(), "\n  The city ") ||
		strings.Contains(table.String(), "letter") {
		t.Errorf("the table is\n%s", &table)
	}
	if s := strings.Join(Summary(r), "\n"); !strings.Contains(s, "The city  words ") || !strings.Contains(s, ", a letter 0.") {
		t.Errorf("the summary is\n%s", s)
	}
	tables := Sections(&c)
	rows := tables[len(tables)-1].Open()
	if len(rows) != 4 || rows[3].Name != "The city (a letter)" {
		t.Errorf("a page has the rows %+v", rows)
	}
	if card := Card(&c); card[len(card)-1][0] != "The city" {
		t.Errorf("the card has %q", card)
	}
}
