package prepare

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TestNothingToLearn: a row of which no token has a loss once it is packed is a dead letter that says why, whatever made it so; its
// neighbour is kept.
func TestNothingToLearn(t *testing.T) {
	long := strings.Repeat("long ", 10)
	chat := "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% " +
		"else %}{{ m.content }}{% endif %}{% endfor %}"
	bfd := func(c *Config) { c.Strategy = datasets.PackBFD }
	for _, c := range []struct {
		name, template, good, bad string
		set                       func(*Config)
		value                     string
	}{
		{"a prompt that fills the sequence", "", `{"prompt": "a", "completion": "b"}`,
			`{"prompt": "` + long + `", "completion": "yes"}`, bfd, "number 51"},
		{"the answer begins at the cut", "", `{"prompt": "a", "completion": "b"}`,
			`{"prompt": "` + long[:32] + `", "completion": "x"}`, bfd, "number 33"},
		{"the answer alone in its piece", "", `{"prompt": "a", "completion": "b"}`, `{"prompt": "` + long[:32] + `", "completion": "x"}`,
			func(c *Config) { c.Ends.EOS = tokenize.No }, "alone in its piece"},
		{"the turn beyond the cut", chat, `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`,
			`{"messages": [{"role": "user", "content": "` + long + `"}, {"role": "assistant", "content": "b"}]}`,
			func(c *Config) { bfd(c); c.AssistantOnlyLoss = true }, "number 57"},
		{"an Alpaca row", chat + "{% if add_generation_prompt %}<a>{% endif %}", `{"instruction": "a", "output": "b"}`,
			`{"instruction": "` + long + `", "output": "b"}`, bfd, "number 57"},
		{"no turn of the assistant", chat, `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`,
			`{"messages": [{"role": "user", "content": "a"}]}`, func(c *Config) { c.AssistantOnlyLoss = true }, "no assistant message"},
		{"a text of one token", "", `{"text": "ab"}`, `{"text": "a"}`, func(c *Config) { c.Ends.EOS = tokenize.No },
			"none predicts another"},
		{"rows as pieces", "", `{"prompt": "a", "completion": "b"}`, `{"prompt": "` + long[:32] + `", "completion": "x"}`,
			func(c *Config) { c.Strategy, c.Ends.EOS = datasets.PackNone, tokenize.No }, "alone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokenizer, in := byteTokenizer(t), t.TempDir()
			if c.template != "" {
				write(t, filepath.Join(tokenizer, "chat_template.jinja"), c.template)
			}
			write(t, filepath.Join(in, "p.jsonl"), c.good+"\n"+c.bad+"\n")
			cfg := config(t, tokenizer, in)
			cfg.CompletionOnlyLoss, cfg.ValidationFraction, cfg.SequenceLength = true, 0, 32
			if c.set != nil {
				c.set(&cfg)
			}
			res := execute(t, cfg)
			if res.Read != 2 || res.Kept != 1 {
				t.Errorf("%d read, %d kept", res.Read, res.Kept)
			}
			letters := rejected(t, res)
			if len(letters) != 1 || letters[0].Index != 1 || !strings.Contains(letters[0].Value, c.value) || len(letters[0].Record) == 0 {
				t.Errorf("%+v", letters)
			}
			for r, n := range res.Rejected {
				if n != 1 || r != "tokenize.nothing_to_learn" && c.value != "no assistant message" {
					t.Errorf("%s: %d", r, n)
				}
			}
			for _, s := range sequences(t, res.Train) {
				if s.Supervised() == 0 {
					t.Errorf("a sequence without a loss: %+v", s)
				}
			}
		})
	}
	in := t.TempDir()
	write(t, filepath.Join(in, "p.jsonl"), fmt.Sprintf("{\"prompt\": %q, \"completion\": \"a\"}\n", long))
	cfg := config(t, byteTokenizer(t), in)
	cfg.CompletionOnlyLoss, cfg.SequenceLength, cfg.Strategy = true, 32, datasets.PackBFD
	if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "nothing_to_learn 1") ||
		!strings.Contains(err.Error(), "sequence_length 32: raise it") {
		t.Errorf("%v", err)
	}
}

// TestRowsAsPlain: rows of several fields where plain texts are wanted are an error that says what to set.
func TestRowsAsPlain(t *testing.T) {
	in := t.TempDir()
	write(t, filepath.Join(in, "p.jsonl"), `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`+"\n")
	cfg := config(t, byteTokenizer(t), in)
	cfg.RowKind = datasets.RowPlain
	if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), "set row_kind to auto") {
		t.Errorf("%v", err)
	}
}
