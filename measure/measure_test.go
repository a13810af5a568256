package measure

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// held makes an input of the embedded model and a shard of texts, of which a prompt has no loss.
func held(t *testing.T, rows ...[2]string) *Input {
	t.Helper()
	dir, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	m, err := infer.Load(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	tk, _, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shard.parquet")
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: 64})
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range rows {
		s := datasets.Sequence{DocStarts: []int32{0}, DocIDs: []string{string(rune('a' + i))}, DocSpans: [][2]int32{{0, 1}},
			Sources: []string{"x"}}
		for k, text := range row {
			ids, err := tk.AppendIDs(nil, text, false)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				label := id
				if k == 0 && row[1] != "" || len(s.InputIDs) == 0 {
					label = datasets.NoLoss
				}
				s.InputIDs, s.Labels = append(s.InputIDs, id), append(s.Labels, label)
			}
		}
		if err := w.Write(&s); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &Input{Model: m, Domain: Set{Shards: []string{path}}, SequenceLength: 64, Say: t.Logf, Config: Config{BatchSize: 2,
		Sampling: evaluate.Sampling{MaxNewTokens: 4, Temperature: 1, TopP: 1, RepetitionPenalty: 1}, AnswerMatch: evaluate.MatchSQuAD}}
}

// TestMeasures: what rows of questions and answers give: a perplexity on answers, exact match, chrF, and samples of what was said.
func TestMeasures(t *testing.T) {
	in := held(t, [2]string{"The city was built in the year", " 1850"}, [2]string{"A file is a", " list of bytes"})
	in.Config.ExactMatch, in.Config.ChrF = 1, 2
	in.General.None = "it is empty"
	r, err := Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OnAnswers || r.Domain == nil || r.Domain.Tokens == 0 || r.General == nil || r.General.Reason != "it is empty" {
		t.Errorf("scores: %+v %+v", r.Domain, r.General)
	}
	if r.Answers == nil || r.Answers.Questions != 1 || r.Translation == nil || r.Translation.Pairs != 2 || len(r.Samples) != 2 ||
		!strings.HasPrefix(r.Samples[0].Prompt, "The city") || r.Samples[0].Text == "" || r.Classes != nil {
		t.Errorf("%+v", r)
	}
	c := Compare(r, r)
	var table strings.Builder
	Print(&table, Sections(&c))
	for _, want := range []string{"perplexity ", "answers (held-out)", "+0.0 %\n", "general (forgetting)", "no perplexity: it is empty",
		"loss on answers",
		"exact match (of 1)", "F1 of the answer", "+0.0 points\n", "chrF ", "completions (of 2)", "+0.00\n"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	if strings.Contains(table.String(), "chrF++") || strings.Contains(table.String(), "nll") {
		t.Errorf("the table has what stands elsewhere:\n%s", &table)
	}
	if card := Card(&c); len(card) < 6 || card[0][0] != "perplexity of answers" ||
		!strings.HasSuffix(card[3][1], " after, of 1 questions") {
		t.Errorf("the card has %q", card)
	}
}

// TestSamplesOfPlainText continues the beginning of the first held-out document where no prompt is given.
func TestSamplesOfPlainText(t *testing.T) {
	in := held(t, [2]string{"The quick brown fox jumps over the lazy dog and runs away", ""})
	r, err := Run(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Samples) != 1 || r.Samples[0].Prompt != "The quick brown fox jumps over the lazy" || r.OnAnswers {
		t.Errorf("%+v", r)
	}
	in.Config.Prompts, in.Config.MaxNewTokens = []string{"One"}, 0
	if r, err = Run(context.Background(), in); err != nil || len(r.Samples) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRows: every row of the table says what it is.
func TestRows(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range Measures {
		if m.Name == "" || m.Doc == "" || m.When == nil || m.Run == nil || seen[m.Name] {
			t.Errorf("the row %q is not whole, or twice there", m.Name)
		}
		seen[m.Name] = true
		for _, c := range m.Columns {
			if c.Name == "" || c.Format == "" && !c.Percent || c.Better == Neither && c.Show != Alone {
				t.Errorf("%s: the column %q is not whole", m.Name, c.Name)
			}
		}
	}
}

// TestOldRecords: the keys of records and of metrics.json are those of the versions before.
func TestOldRecords(t *testing.T) {
	score := evaluate.NewScore(4, 2, evaluate.Text{})
	r := Results{Domain: &score, General: &score, Classes: &ClassScore{}, OnAnswers: true, Answers: &evaluate.Match{},
		Samples:     []Sample{{"a", "b"}},
		Translation: &Translation{}, Sources: []SourceScore{{Name: "x", Score: &score}}}
	keys := func(v any) string {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		return strings.Join(slices.Sorted(maps.Keys(m)), " ")
	}
	if got := keys(r); got != "answers classification domain general on_answers samples sources translation" {
		t.Errorf("a record has the keys %s", got)
	}
	if got := keys(Compare(&r, &r)); got != "answers classification domain general on_answers sources translation" {
		t.Errorf("the key eval has the keys %s", got)
	}
	if raw, err := json.Marshal(Results{}); err != nil || string(raw) != "{}" {
		t.Errorf("nothing measured is %s, %v", raw, err)
	}
}
