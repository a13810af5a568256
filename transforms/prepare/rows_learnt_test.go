package prepare

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

const (
	marked = "{% for m in messages %}<{{ m.role[0] }}>{% if m.role == 'assistant' %}{% generation %}{{ m.content }};{% endgeneration " +
		"%}{% else %}{{ m.content }};{% endif %}{% endfor %}" +
		"{% if add_generation_prompt %}<a>{% endif %}"
	unmarked = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }};{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
	// rewriting leaves out what answers before the last say in brackets.
	rewriting = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content if loop.last else m.content.split(')')[-1] }};{% endfor %}{% if " +
		"add_generation_prompt %}<a>{% endif %}"
)

// shown is a sequence as text and the same with a dot for each token without a loss.
func shown(s datasets.Sequence) (text, learnt string) {
	for i, id := range s.InputIDs {
		c := "$"
		if id != eos {
			c = string(rune(id))
		}
		text += c
		if s.Labels[i] == datasets.NoLoss {
			c = "."
		}
		learnt += c
	}
	return text, learnt
}

// TestRowsLearnt: what the tokens of a row are and which of them are learnt, with the settings of instruction tuning: turns that say so are
// not, the system text and the history of an Alpaca row are there, an empty prompt goes through the chat template.
func TestRowsLearnt(t *testing.T) {
	for _, c := range []struct{ name, template, row, text, learnt string }{
		// B16 and its kin.
		{"weight", unmarked,
			`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"no","weight":0},{"role":"user","content":"z"},{"role":"assistant","content":"yes","weight":1}]}`,
			"<u>x;<a>no;<u>z;<a>yes;", "...................yes;"},
		{"weight, marked", marked,
			`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"no","weight":0},{"role":"user","content":"z"},{"role":"assistant","content":"yes"}]}`,
			"<u>x;<a>no;<u>z;<a>yes;", "...................yes;"},
		{"weight of the last", marked,
			`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"yes","weight":1},{"role":"user","content":"z"},{"role":"assistant","content":"no","weight":0}]}`,
			"<u>x;<a>yes;<u>z;<a>no;", "........yes;..........."},
		{"no weight", marked,
			`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"a","weight":null},{"role":"user","content":"z"},{"role":"assistant","content":"b"}]}`,
			"<u>x;<a>a;<u>z;<a>b;", "........a;........b;"},
		{"train", unmarked,
			`{"messages":[{"role":"user","content":"x","train":true},{"role":"assistant","content":"no","train":false},{"role":"user","content":"z","train":false},{"role":"assistant","content":"yes","train":true}]}`,
			"<u>x;<a>no;<u>z;<a>yes;", ".u>x;..............yes;"},
		{"loss", unmarked,
			`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"no","loss":false},{"role":"user","content":"z","loss":true},{"role":"assistant","content":"yes"}]}`,
			"<u>x;<a>no;<u>z;<a>yes;", "...................yes;"},
		{"a turn of ShareGPT", unmarked,
			`{"conversations":[{"from":"human","value":"x"},{"from":"gpt","value":"no","weight":0},{"from":"human","value":"z"},{"from":"gpt","value":"yes"}]}`,
			"<u>x;<a>no;<u>z;<a>yes;", "...................yes;"},
		{"in a completion", unmarked,
			`{"prompt":[{"role":"user","content":"x"}],"completion":[{"role":"assistant","content":"no","weight":0},{"role":"user","content":"z"},{"role":"assistant","content":"yes"}]}`,
			"<u>x;<a>no;<u>z;<a>yes;", "...........<u>z;<a>yes;"},
		{"cannot be separated", rewriting,
			`{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"(no)","weight":0},{"role":"user","content":"z"},{"role":"assistant","content":"yes"}]}`,
			"", "chat_template"},
		// B02 and its kin.
		{"input alone", unmarked, `{"instruction":"","input":"q","output":"a"}`, "<u>q;<a>a;", "........a;"},
		{"instruction and input", unmarked, `{"instruction":"i","input":"q","output":"a"}`, "<u>i\n\nq;<a>a;", "...........a;"},
		{"system and history", unmarked, `{"instruction":"i","input":"","output":"a","system":"s","history":[["x","y"]]}`,
			"<s>s;<u>x;<a>y;<u>i;<a>a;", ".............y;........a;"},
		{"system and history, marked", marked, `{"instruction":"i","input":"","output":"a","system":"s","history":[["x","y"]]}`,
			"<s>s;<u>x;<a>y;<u>i;<a>a;", ".............y;........a;"},
		{"system and history without a template", "", `{"instruction":"i","input":"n","output":"a","system":"s","history":[["x","y"]]}`,
			"s\n\n### Instruction:\nx\n\n### Response:\ny\n\n### Instruction:\ni\n\n### Input:\nn\n\n### Response:\na$",
			strings.Repeat(".", 37) + "y" + strings.Repeat(".", 50) + "a$"},
		{"input alone without a template", "", `{"instruction":"","input":"q","output":"a"}`,
			"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### " +
				"Instruction:\nq\n\n### Response:\na$", strings.Repeat(".", 141) + "a$"},
		// An empty prompt.
		{"empty prompt", unmarked, `{"prompt":"","completion":"a"}`, "<u>;<a>a;", ".......a;"},
		{"empty prompt without a template", "", `{"prompt":"","completion":"a"}`,
			"Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### " +
				"Instruction:\n\n\n### Response:\na$", strings.Repeat(".", 140) + "a$"},
		{"no answer", unmarked, `{"prompt":"q","completion":""}`, "<u>q;<a>;", "........;"},
		// B17.
		{"UltraFeedback", unmarked,
			`{"prompt":"Q","chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"rejected":[{"role":"user","content":"Q"},{"role":"assistant","content":"B"}]}`,
			"<u>Q;<a>A;", "........A;"},
		// TRL's chat_template_kwargs, and tools as a text.
		{"kwargs", "{{ mode }}{{ tools[0].name }}" + unmarked,
			`{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"tools":"[{\"name\": \"f\"}]","chat_template_kwargs":{"mode":"m"}}`,
			"mf<u>q;<a>a;", "..........a;"},
	} {
		tokenizer, in := byteTokenizer(t), t.TempDir()
		if c.template != "" {
			write(t, filepath.Join(tokenizer, "chat_template.jinja"), c.template)
		}
		write(t, filepath.Join(in, "p.jsonl"), c.row+"\n")
		cfg := config(t, tokenizer, in)
		cfg.CompletionOnlyLoss, cfg.AssistantOnlyLoss, cfg.ApplyChatTemplate, cfg.ValidationFraction,
			cfg.SequenceLength = true, true, true, 0, 512
		if strings.Contains(c.row, `"chosen"`) {
			cfg.RowKind = datasets.RowPreference
		}
		if c.text == "" {
			if _, err := Execute(t.Context(), cfg, nil); err == nil || !strings.Contains(err.Error(), c.learnt) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		s := sequences(t, execute(t, cfg).Train)
		if len(s) != 1 {
			t.Errorf("%s: %d sequences", c.name, len(s))
			continue
		}
		if text, learnt := shown(s[0]); text != c.text || learnt != c.learnt {
			t.Errorf("%s:\n%q, want\n%q;\n%q, want\n%q", c.name, text, c.text, learnt, c.learnt)
		}
	}
}

// TestUnusedFields: fields that nobody looks at are in the result and in the manifest, but those of messages that the chat template names.
func TestUnusedFields(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	write(t, filepath.Join(tokenizer, "chat_template.jinja"), "{% for m in messages %}<{{ m.name }}>{{ m.content }}{% endfor %}")
	write(t, filepath.Join(in, "p.jsonl"), `{"id":1,"messages":[{"role":"user","content":"a`+
		`\u0000","name":"n","mood":"m"},{"role":"assistant","content":""}]}`+"\n")
	cfg := config(t, tokenizer, in)
	cfg.ValidationFraction = 0
	res := execute(t, cfg)
	m, err := datasets.ReadManifest(cfg.OutDir)
	if err != nil {
		t.Fatal(err)
	}
	unused, notes := map[string]int64{"id": 1, "messages[].mood": 1}, map[string]int64{datasets.NoteEmptyAnswer: 1, datasets.NoteNUL: 1}
	if !maps.Equal(res.Tally.Unused, unused) || !maps.Equal(res.Tally.Notes, notes) || !maps.Equal(m.Unused, unused) ||
		!maps.Equal(m.Notes, notes) || len(m.Formats) != 1 {
		t.Errorf("%v %v; manifest %v %v %v", res.Tally.Unused, res.Tally.Notes, m.Unused, m.Notes, m.Formats)
	}
}
