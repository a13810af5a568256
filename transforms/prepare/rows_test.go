package prepare

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

// TestRows: prompts have no loss, completions have; a rule that rewrites reaches every field; a conversation goes through the chat
// template.
func TestRows(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	write(t, filepath.Join(in, "p.jsonl"), `{"prompt": "ab", "completion": "me@x.org"}`+"\n")
	cfg := config(t, tokenizer, in)
	cfg.CompletionOnlyLoss, cfg.ValidationFraction = true, 0
	cfg.Clean = []map[string]any{step("pii", "action", "remove"), step("length", "min_chars", 1)}
	write(t, filepath.Join(in, "q.jsonl"), `{"prompt": "cd", "completion": "xyz"}`+"\n")
	res := execute(t, cfg)
	if !slices.Equal(res.Layouts, []string{"2 files of jsonl, rows: prompt_completion"}) || res.Kept != 1 && res.Kept != 2 {
		t.Errorf("%v %+v", res.Layouts, res.Funnel)
	}
	found := false
	for _, s := range sequences(t, res.Train) {
		for i := range s.InputIDs {
			if s.InputIDs[i] == 'c' {
				want := []int32{datasets.NoLoss, datasets.NoLoss, 'x', 'y', 'z', eos}
				found = slices.Equal(s.Labels[i:i+6], want) && slices.Equal(s.InputIDs[i:i+6], []int32{'c', 'd', 'x', 'y', 'z', eos})
			}
			if s.InputIDs[i] == '@' {
				t.Error("an address is left")
			}
		}
	}
	if !found {
		t.Error("the labels of a prompt and its completion are wrong")
	}
	write(t, filepath.Join(tokenizer, "chat_template.jinja"),
		"{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else "+
			"%}{{ m.content }}{% endif %}{% endfor %}")
	chats := t.TempDir()
	write(t, filepath.Join(chats, "c.jsonl"), `{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}`+
		"\n")
	cfg = config(t, tokenizer, chats)
	cfg.AssistantOnlyLoss, cfg.ValidationFraction = true, 0
	seqs := sequences(t, execute(t, cfg).Train)
	n := int32(datasets.NoLoss)
	if len(seqs) != 1 || !slices.Equal(seqs[0].InputIDs, []int32{'<', 'u', '>', 'h', 'i', '<', 'a', '>', 'h', 'o'}) ||
		!slices.Equal(seqs[0].Labels, []int32{n, n, n, n, n, n, n, n, 'h', 'o'}) {
		t.Errorf("%+v", seqs)
	}
	// The spans of a row's pieces are of the text that the template made.
	cfg.SequenceLength = 4
	var spans [][2]int32
	for _, s := range sequences(t, execute(t, cfg).Train) {
		for i, id := range s.DocIDs {
			if id != "c.jsonl#0" || s.Sources[i] != "c.jsonl" {
				t.Errorf("%s of %s", id, s.Sources[i])
			}
		}
		spans = append(spans, s.DocSpans...)
	}
	slices.SortFunc(spans, func(a, b [2]int32) int { return int(a[0] - b[0]) })
	if !slices.Equal(spans, [][2]int32{{0, 4}, {4, 8}, {8, 10}}) {
		t.Errorf("spans %v", spans)
	}
	// A template without {% generation %} gives the same labels; plain prompts go through it when asked; plain texts are refused then.
	write(t, filepath.Join(tokenizer, "chat_template.jinja"),
		"{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}")
	pairs := t.TempDir()
	write(t, filepath.Join(pairs, "p.jsonl"), `{"prompt": "hi", "completion": "ho"}`+"\n")
	for _, dir := range []string{chats, pairs} {
		cfg = config(t, tokenizer, dir)
		cfg.AssistantOnlyLoss, cfg.CompletionOnlyLoss, cfg.ApplyChatTemplate, cfg.ValidationFraction = true, true, true, 0
		again := sequences(t, execute(t, cfg).Train)
		if len(again) != 1 || !slices.Equal(again[0].InputIDs, seqs[0].InputIDs) || !slices.Equal(again[0].Labels, seqs[0].Labels) {
			t.Errorf("%s: %+v", dir, again)
		}
	}
}

// TestPreferences: rows of preferences are seen for what they are, and the error says what to do.
func TestPreferences(t *testing.T) {
	for kind, c := range map[string]struct{ row, advice string }{
		datasets.RowPreference: {`{"prompt": "a", "chosen": "b", "rejected": "c"}`, "row_kind: preference"},
		datasets.RowUnpaired:   {`{"prompt": "a", "completion": "b", "label": true}`, "whose label is true"},
	} {
		in := t.TempDir()
		write(t, filepath.Join(in, "p.jsonl"), c.row+"\n")
		cfg := config(t, byteTokenizer(t), in)
		if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "wrong_row 1") ||
			!strings.Contains(err.Error(), c.advice) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestChosen: named as preferences, rows are learned from by what is preferred, whether the prompt stands apart or within.
func TestChosen(t *testing.T) {
	tokenizer := byteTokenizer(t)
	write(t, filepath.Join(tokenizer, "chat_template.jinja"),
		"{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}")
	n := int32(datasets.NoLoss)
	for name, c := range map[string]struct {
		row         string
		ids, labels []int32
	}{
		"a prompt apart": {`{"question": "ab", "chosen": "xy", "rejected": "z"}`, []int32{'a', 'b', 'x', 'y', eos},
			[]int32{n, n, 'x', 'y', eos}},
		"a prompt within": {`{"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}], "rejected": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "z"}]}`,
			[]int32{'<', 'u', '>', 'a', '<', 'a', '>', 'x'}, []int32{n, n, n, n, n, n, n, 'x'}},
	} {
		in := t.TempDir()
		write(t, filepath.Join(in, "p.jsonl"), c.row+"\n")
		cfg := config(t, tokenizer, in)
		cfg.RowKind, cfg.Columns, cfg.CompletionOnlyLoss, cfg.AssistantOnlyLoss, cfg.ValidationFraction = datasets.RowPreference,
			map[string]string{"prompt": "question"}, true, strings.Contains(name, "within"), 0
		s := sequences(t, execute(t, cfg).Train)
		if len(s) != 1 || !slices.Equal(s[0].InputIDs, c.ids) || !slices.Equal(s[0].Labels, c.labels) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
