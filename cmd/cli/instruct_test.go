package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/pipelines/report"
)

// instruct runs the template on rows with small settings and returns the metrics, or the error text of a run that fails.
func (b *desk) instruct(name string, settings ...string) (*report.Metrics, string) {
	b.t.Helper()
	args := []string{"run", "instruction-tuning", "--output", b.path(name)}
	for _, s := range append([]string{"steps=1", "warmup_steps=0", "batch_size=1", "sequence_length=96", "general_input=", "exact_match=2",
		"max_new_tokens=6", "max_sequences=2"}, settings...) {
		args = append(args, "--set", s)
	}
	out, err := adaptflow(args...).CombinedOutput()
	if err != nil {
		return nil, string(out)
	}
	m, err := report.ReadMetrics(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return m, string(out)
}

// TestInstructionTuning: every kind of rows gives a loss on answers alone; an answer that the base model gives is an exact match; rows
// without a prompt are refused with advice.
func TestInstructionTuning(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	b := &desk{t, t.TempDir()}
	rows := func(name string, n int, row func(q, a string) any) string {
		var s strings.Builder
		for i := range n {
			line, err := json.Marshal(row(fmt.Sprintf("What is %d and %d?", i, i+1), fmt.Sprintf("The sum is\n#### %d", 2*i+1)))
			if err != nil {
				t.Fatal(err)
			}
			s.Write(append(line, '\n'))
		}
		return b.file(name, s.String())
	}
	type message = map[string]string
	pairs := rows("pairs.jsonl", 6, func(q, a string) any { return message{"question": q, "answer": a} })
	chats := rows("chats.jsonl", 6, func(q, a string) any {
		return map[string]any{"messages": []message{{"role": "user", "content": q}, {"role": "assistant", "content": a}}}
	})
	one := rows("one.jsonl", 1, func(q, a string) any { return message{"prompt": q, "completion": a} })
	columns := "columns={prompt: question, completion: answer}"

	m, out := b.instruct("pairs", "input="+pairs, "eval_input="+pairs, columns)
	if m == nil {
		t.Fatal(out)
	}
	c, out := b.instruct("chats", "input="+chats, "eval_input="+chats)
	if c == nil {
		t.Fatal(out)
	}
	for name, m := range map[string]*report.Metrics{"pairs": m, "chats": c} {
		a, d := m.Eval.Answers, m.Eval.Domain
		if !m.Eval.OnAnswers || a == nil || a.Before.Questions != 2 || d == nil || !(d.After.NLL < d.Before.NLL) || len(m.Samples) != 1 ||
			!strings.Contains(m.Samples[0].Prompt, "What is ") {
			t.Errorf("%s: %+v %+v", name, m.Eval, m.Samples)
		}
	}
	// Both are the same conversations, so the same tokens have a loss.
	if x, y := m.Eval.Domain.Before, c.Eval.Domain.Before; x.Tokens != y.Tokens || x.NLL != y.NLL {
		t.Errorf("pairs %+v, messages %+v", x, y)
	}
	for _, want := range []string{"answers (held-out)", "loss on answers", "exact match (of 2)"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table has no %q:\n%s", want, out)
		}
	}
	// What the base says to the one question, given as its right answer.
	m, out = b.instruct("one", "input="+pairs, columns, "validation_fraction=0.5", "exact_match=0", "evaluate.max_new_tokens=0")
	if m == nil || m.Eval.Answers != nil || len(m.Samples) != 0 {
		t.Fatalf("%s", out)
	}
	if m, out = b.instruct("said", "input="+one, "eval_input="+one); m == nil {
		t.Fatal(out)
	}
	if m.Eval.Answers.Before.ExactMatch != 0 {
		t.Errorf("%+v", m.Eval.Answers)
	}
	said, err := json.Marshal(message{"prompt": "What is 0 and 1?", "completion": m.Samples[0].Before})
	if err != nil {
		t.Fatal(err)
	}
	right := b.file("right.jsonl", string(said)+"\n")
	if m, out = b.instruct("right", "input="+one, "eval_input="+right); m == nil || m.Eval.Answers.Before.ExactMatch != 1 ||
		m.Eval.Answers.Before.F1 != 1 {
		t.Errorf("the model's own answer %q is not a match:\n%s", said, out)
	}
	// A conversation that nobody answers is rejected with its reason; the others are trained on.
	lines, err := os.ReadFile(chats)
	if err != nil {
		t.Fatal(err)
	}
	silent := b.file("silent.jsonl", string(lines)+`{"messages": [{"role": "user", "content": "Is anybody there?"}]}`+"\n")
	if m, out = b.instruct("silent", "input="+silent, "eval_input="+chats); m == nil {
		t.Fatal(out)
	} else if m.Data.Read != 7 || m.Data.Kept != 6 || m.Data.Rejected["tokenize.chat_template"] != 1 ||
		m.Data.Sequences != c.Data.Sequences {
		t.Errorf("%+v", m.Data)
	}
	for name, c := range map[string]struct{ text, want string }{
		"no prompt": {`{"q": "What?", "a": "That."}`, "columns"},
		"plain":     {`{"text": "What? That."}`, "apply_chat_template"},
		"half":      {`{"prompt": 5, "completion": "x"}`, "wrong_row"},
	} {
		m, out := b.instruct(name, "input="+b.file("wrong.jsonl", strings.Repeat(c.text+"\n", 3)))
		if m != nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %s", name, out)
		}
		if _, err := os.Stat(b.path(name + "/metrics.json")); err == nil {
			t.Errorf("%s: metrics of a failed run", name)
		}
	}
}
