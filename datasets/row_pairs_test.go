package datasets

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// answerRow reads one row for an objective over answers.
func answerRow(t *testing.T, kind, text string) (Row, string, string) {
	t.Helper()
	var obj map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &obj); err != nil {
		t.Fatal(err)
	}
	o, err := (Options{Answers: kind, RowKind: RowAuto}).withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	rec, reason, what := o.rowOf(o.kindOf(obj), obj, map[string]bool{}, &Tally{})
	var row Row
	if reason == "" {
		if err := json.Unmarshal([]byte(rec.Row), &row); err != nil {
			t.Fatal(err)
		}
	}
	return row, reason, what
}

// TestAnswerRows: rows of preferences as they are read where answers are compared, and what is wrong with others.
func TestAnswerRows(t *testing.T) {
	for _, c := range []struct{ kind, text, want string }{
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": " b"}`, `"Q" " a" " b"`},
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": " b", "margin": 0.5}`, `"Q" " a" " b" 0.5`},
		{KindPreference, `{"chosen": "What? An ox.", "rejected": "What? An ass."}`, `"What? An" " ox." " ass."`},
		{KindPreference, `{"chosen": "Yes it is", "rejected": "Yes it is not"}`, `"Yes it i" "s" "s not"`},
		{KindPreference, `{"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "a"}],
			"rejected": [{"content": "Q", "role": "user"}, {"role": "assistant", "content": "b"}]}`,
			`[{"role":"user","content":"Q"}] [{"role":"assistant","content":"a"}] [{"role":"assistant","content":"b"}]`},
		{KindUnpaired, `{"prompt": "Q", "completion": " a", "label": false}`, `"Q" " a"  false`},
		{KindUnpaired, `{"prompt": "Q", "chosen": " a", "rejected": " b"}`, `"Q" " a" " b"`},
	} {
		row, reason, what := answerRow(t, c.kind, c.text)
		got := strings.Join([]string{string(row.Prompt), string(row.Completion), string(row.Rejected)}, " ")
		if row.Desirable != nil {
			got += map[bool]string{true: " true", false: " false"}[*row.Desirable]
		}
		if row.Margin != nil {
			got += fmt.Sprint(" ", *row.Margin)
		}
		if got != c.want || row.Kind != c.kind {
			t.Errorf("%s: %s of %s, want %s (%s %s)", c.text, got, row.Kind, c.want, reason, what)
		}
	}
	for _, c := range []struct{ kind, text, reason, what string }{
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": " b", "margin": "much"}`, ReasonWrongRow, "margin: \"much\"; want a number"},
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": " a"}`, ReasonEqualAnswers, "equal"},
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": " "}`, ReasonNoAnswer, "empty"},
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": null}`, ReasonWrongRow, "rejected"},
		{KindPreference, `{"prompt": "Q", "chosen": " a", "rejected": [{"role": "assistant", "content": "b"}]}`, ReasonWrongRow,
			"some are lists"},
		{KindPreference, `{"prompt": "Q", "completion": " a"}`, ReasonWrongRow, "rows of preferences are wanted"},
		{KindPreference, `{"prompt": "Q", "completion": " a", "label": true}`, ReasonWrongRow, "rows of preferences are wanted"},
		{KindUnpaired, `{"prompt": "Q", "completion": " a", "label": "good"}`, ReasonWrongRow, "want true or false"},
	} {
		if _, reason, what := answerRow(t, c.kind, c.text); reason != c.reason || !strings.Contains(what, c.what) {
			t.Errorf("%s: %s, %q, want %s, %q", c.text, reason, what, c.reason, c.what)
		}
	}
}

// TestGoldenExtractPrompt: over the golden folder that ADAPTFLOW_GOLDEN names, prompts within answers are those that TRL finds.
func TestGoldenExtractPrompt(t *testing.T) {
	path := filepath.Join(golden.Root(t, "testdata"), "trl", "preference_tokenisation", "lm-en-5m.json")
	if _, err := os.Stat(path); err != nil {
		t.Skip(err)
	}
	type pair struct{ Prompt, Chosen, Rejected json.RawMessage }
	doc := golden.JSON[struct {
		Groups []struct {
			Name     string
			Rows     []pair
			Kept     []int `json:"kept_rows"`
			Prepared []pair
		}
	}](t, path)
	n := 0
	for _, g := range doc.Groups {
		if !strings.HasPrefix(g.Name, "implicit") {
			continue
		}
		for i, want := range g.Prepared {
			from := g.Rows[g.Kept[i]]
			text, err := json.Marshal(map[string]json.RawMessage{"chosen": from.Chosen, "rejected": from.Rejected})
			if err != nil {
				t.Fatal(err)
			}
			row, reason, what := answerRow(t, KindPreference, string(text))
			if reason == ReasonEqualAnswers || reason == ReasonNoAnswer {
				continue // which TRL takes
			}
			if c, r := string(from.Chosen), string(from.Rejected); c[1] != r[1] && strings.HasSuffix(c, ` "`) {
				continue // TRL looks at the character before the first, and finds the last
			}
			end := func(raw json.RawMessage) string {
				return strings.Replace(string(encode(value(raw))), "<|endoftext|>", "", 1)
			}
			if end(row.Prompt) != end(want.Prompt) || end(row.Completion) != end(want.Chosen) || end(row.Rejected) != end(want.Rejected) {
				t.Errorf("%s: %s | %s | %s, TRL %s | %s | %s (%s %s)", text, row.Prompt, row.Completion, row.Rejected, want.Prompt,
					want.Chosen, want.Rejected, reason, what)
			}
			n++
		}
	}
	if n == 0 {
		t.Error("no row was compared")
	}
}

func value(raw json.RawMessage) (v any) {
	_ = json.Unmarshal(raw, &v)
	return v
}

// TestPackAnswers: documents of answers stay together, are parted in the row, and come back from a shard with their labels.
func TestPackAnswers(t *testing.T) {
	docs := []Doc{
		{ID: "a", Source: "s", Tokens: []int32{1, 2, 3, 1, 2, 4, 5}, Labels: []int32{NoLoss, NoLoss, 3, NewAnswer, NoLoss, 4, 5}},
		{ID: "b", Source: "s", Tokens: []int32{6, 7, 6, 8}, Labels: []int32{NoLoss, 7, NewAnswer, 8}},
	}
	o := PackOptions{Strategy: PackBFD, SequenceLength: 12, IsolateDocuments: true, Answers: true}
	for _, kind := range []string{KindPreference, "margin", KindUnpaired} {
		margin := kind == "margin"
		if margin {
			docs[1].Labels[2], kind = MarginLabel(-0.7), KindPreference
		}
		if kind == KindUnpaired {
			docs[0].Labels[0], docs[0].Labels[3] = DesirableAnswer, UndesirableAnswer
			docs[1].Labels[0], docs[1].Labels[2] = UndesirableAnswer, DesirableAnswer
		}
		var rows []Sequence
		if _, err := Pack(docs, o, func(s Sequence) error { rows = append(rows, s); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(rows) != 1 || !slices.Equal(rows[0].DocStarts, []int32{0, 3, 7, 9}) || rows[0].Supervised() != 5 ||
			!slices.Equal(rows[0].DocIDs, []string{"a", "a", "b", "b"}) {
			t.Fatalf("%s: %+v", kind, rows)
		}
		if n := o.Supervised(&docs[0]); n != 3 {
			t.Errorf("%s: %d tokens of the first pair have a loss, want 3", kind, n)
		}
		path := filepath.Join(t.TempDir(), "shard.parquet")
		w, err := CreateShard(path, ShardMeta{Kind: kind, SequenceLength: 12})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(&rows[0]); err != nil {
			t.Fatal(err)
		}
		if info, err := w.Close(); err != nil || info.Supervised != 5 {
			t.Fatal(info, err)
		}
		s, err := OpenShard(path)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		got, err := s.ReadRowGroup(0)
		if err != nil {
			t.Fatal(err)
		}
		for i, at := range got[0].DocStarts {
			if l := got[0].Labels[at]; kind == KindPreference && l != NoLoss && !(margin && i == 3) {
				t.Errorf("the first token of document %d has the label %d", i, l)
			}
		}
		if want := []float32{0, 0, -0.7, -0.7}; margin != (len(got[0].Values) > 0) && kind == KindPreference ||
			margin && !slices.EqualFunc(got[0].Values[ColumnMargin], want, func(a, b float32) bool { return a-b < 1e-7 && b-a < 1e-7 }) {
			t.Errorf("margins %v", got[0].Values)
		}
		if want := []float32{1, 0, 0, 1}; kind == KindUnpaired && !slices.Equal(got[0].Values[ColumnLabel], want) {
			t.Errorf("labels %v, want %v", got[0].Values[ColumnLabel], want)
		}
	}
	o.Strategy = PackWrapped
	if err := o.Validate(); err == nil || !strings.Contains(err.Error(), "would cut answers apart") {
		t.Error(err)
	}
}
