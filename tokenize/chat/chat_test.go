package chat

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

type templates struct {
	BOS       string            `json:"bos_token"`
	EOS       string            `json:"eos_token"`
	Now       string            `json:"now"`
	Templates map[string]string `json:"templates"`
}

func (x templates) open(t *testing.T, name string) *Template {
	t.Helper()
	tm, err := New(x.Templates[name], map[string]string{"bos_token": x.BOS, "eos_token": x.EOS})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	now, err := time.Parse("2006-01-02T15:04:05", x.Now)
	if err != nil {
		t.Fatal(err)
	}
	tm.Now = func() time.Time { return now }
	return tm
}

type conversations struct {
	Conversations map[string]json.RawMessage `json:"conversations"`
	Tools         json.RawMessage            `json:"tools"`
}

// TestGoldenChat compares with transformers' apply_chat_template: texts, and the errors of templates that complain.
func TestGoldenChat(t *testing.T) {
	dir := filepath.Join(golden.Root(t, filepath.Join("..", "testdata")), "chat")
	x := golden.JSON[templates](t, filepath.Join(dir, "templates.json"))
	conv := golden.JSON[conversations](t, filepath.Join(dir, "conversations.json"))
	cases := golden.JSON[[]struct {
		Template     string                     `json:"template"`
		Conversation string                     `json:"conversation"`
		Prompt       bool                       `json:"add_generation_prompt"`
		Options      map[string]json.RawMessage `json:"options"`
		Expected     *string                    `json:"expected"`
		Error        string                     `json:"error"`
		ErrorType    string                     `json:"error_type"`
	}](t, filepath.Join(dir, "cases.json"))
	good, errs := 0, 0
	for _, c := range cases {
		tm := x.open(t, c.Template)
		in := Conversation{Messages: conv.Conversations[c.Conversation], Tools: c.Options["tools"]}
		delete(c.Options, "tools")
		in.Kwargs, _ = json.Marshal(c.Options)
		r, err := tm.Render(in, Options{AddGenerationPrompt: c.Prompt})
		if c.Expected == nil {
			var e *jinja.Error
			if !errors.As(err, &e) || e.Kind != c.ErrorType || e.Message != c.Error {
				t.Errorf("%s, %s: error %v, want %s: %s", c.Template, c.Conversation, err, c.ErrorType, c.Error)
			} else {
				good++
				errs++
			}
			continue
		}
		if err != nil {
			t.Errorf("%s, %s: %v", c.Template, c.Conversation, err)
		} else if r.Text != *c.Expected {
			t.Errorf("%s, %s, %v:\n%q, want\n%q", c.Template, c.Conversation, c.Prompt, r.Text, *c.Expected)
		} else {
			good++
		}
	}
	t.Logf("chat: %d of %d renderings equal, %d of them errors", good, len(cases), errs)
	if good == 0 {
		t.Error("no case ran")
	}

	cont := golden.JSON[struct {
		Template string          `json:"template"`
		Added    json.RawMessage `json:"added"`
		Expected string          `json:"expected"`
	}](t, filepath.Join(dir, "continue_final_message.json"))
	first, err := concat(conv.Conversations["single"], json.RawMessage("["+string(cont.Added)+"]"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := x.open(t, cont.Template).Render(Conversation{Messages: first}, Options{ContinueFinalMessage: true})
	if err != nil || r.Text != cont.Expected {
		t.Errorf("continue_final_message: %+v, want %q (%v)", r, cont.Expected, err)
	}

	mask := golden.JSON[struct {
		Template     string  `json:"template"`
		Conversation string  `json:"conversation"`
		IDs          []int32 `json:"input_ids"`
		Masks        []uint8 `json:"assistant_masks"`
		Tokenizer    string  `json:"tokenizer"`
	}](t, filepath.Join(dir, "assistant_mask.json"))
	tk, err := tokenize.Load(filepath.Join(golden.Root(t, filepath.Join("..", "testdata")), mask.Tokenizer))
	if err != nil {
		t.Fatal(err)
	}
	if r, err = x.open(t, mask.Template).Render(Conversation{Messages: conv.Conversations[mask.Conversation]}, Options{}); err != nil {
		t.Fatal(err)
	}
	e, err := tk.Encode(r.Text, false)
	if err != nil || !slices.Equal(e.IDs, mask.IDs) || !slices.Equal(Mask(e.Offsets, r.Assistant), mask.Masks) {
		t.Errorf("assistant mask: ids %v, mask %v (%v)", e.IDs, Mask(e.Offsets, r.Assistant), err)
	}
}

// TestGoldenSFTMasks compares ids and labels with TRL's SFTTrainer.
func TestGoldenSFTMasks(t *testing.T) {
	root := golden.Root(t, filepath.Join("..", "testdata"))
	tk, err := tokenize.Load(filepath.Join(root, "tokenizer"))
	if err != nil {
		t.Fatal(err)
	}
	frame, err := tokenize.Ends{}.Frame(tk)
	if err != nil {
		t.Fatal(err)
	}
	type meta struct {
		Template      string `json:"chat_template"`
		Conversations []struct {
			Messages json.RawMessage `json:"messages"`
		} `json:"conversations"`
		Examples []struct{ Prompt, Completion string } `json:"examples"`
	}
	ran := 0
	for name, tokens := range map[string]func(m meta) ([]*Tokens, error){
		"sft_completion_only": func(m meta) (out []*Tokens, err error) {
			for _, e := range m.Examples {
				x, err := PlainPromptCompletion(frame, e.Prompt, e.Completion, Loss{CompletionOnly: true})
				if err != nil {
					return nil, err
				}
				out = append(out, x)
			}
			return out, nil
		},
		"sft_assistant_only": func(m meta) (out []*Tokens, err error) {
			tm, err := New(m.Template, map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
			if err != nil {
				return nil, err
			}
			for _, c := range m.Conversations {
				x, err := tm.Tokens(tk, Conversation{Messages: c.Messages}, Loss{AssistantOnly: true})
				if err != nil {
					return nil, err
				}
				out = append(out, x)
			}
			return out, nil
		},
	} {
		dir := filepath.Join(root, "trl", name)
		m := golden.JSON[meta](t, filepath.Join(dir, "meta.json"))
		got, err := tokens(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := golden.Open(t, filepath.Join(dir, "expected.safetensors"))
		ids, labels := want.I64("batch.input_ids"), want.I64("batch.labels")
		width := len(ids) / len(got)
		for i, x := range got {
			for k := range width {
				id, label := int64(-1), int64(Ignored)
				if k < len(x.IDs) {
					id, label = int64(x.IDs[k]), int64(x.Labels[k])
				}
				if id >= 0 && ids[i*width+k] != id || labels[i*width+k] != label {
					t.Errorf("%s, row %d, token %d: %d with label %d, want %d, %d", name, i, k, id, label,
						ids[i*width+k], labels[i*width+k])
				}
			}
		}
		ran++
	}
	t.Logf("SFT masks: %d of 2 cases ran", ran)
}

// TestSandbox: templates that never end, make too much, or reach out end with an error.
func TestSandbox(t *testing.T) {
	for name, src := range map[string]string{
		"long loop":         `{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}`,
		"range":             `{{ range(10000000000) }}`,
		"repeat":            `{{ 'a' * 1000000000 }}`,
		"repeat a list":     `{{ ([1] * 1000000000) | length }}`,
		"doubling":          `{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}`,
		"output":            `{% set x = 'a' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}`,
		"macro recursion":   `{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}`,
		"loop recursion":    `{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}`,
		"replace":           `{{ ('a' * 100000) | replace('a', 'b' * 100000) }}`,
		"join":              `{{ range(100000) | join('x' * 100000) }}`,
		"center":            `{{ 'a'.center(2000000000) }}`,
		"percent":           `{{ '%2000000000d' % 3 }}`,
		"include":           `{% include '/etc/passwd' %}`,
		"import":            `{% import 'x' as y %}`,
		"extends":           `{% extends 'x' %}`,
		"class":             `{{ ''.__class__.__mro__[1] }}`,
		"append":            `{% set l = [] %}{{ l.append(1) }}`,
		"update":            `{{ messages[0].update({'a': 1}) }}`,
		"deep":              strings.Repeat("(", 5000) + "1",
		"deep expression":   "{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}{% x %}",
		"deep statements":   strings.Repeat("{% if 1 %}", 5000),
		"deep not":          "{{ " + strings.Repeat("not ", 100000) + "1 }}",
		"deep minus":        "{{ " + strings.Repeat("-", 100000) + "1 }}",
		"unknown statement": `{% do x %}`,
	} {
		start := time.Now()
		tm, err := New(src, nil)
		if err == nil {
			if name != "doubling" { // that one under the limits that hold when none is set
				tm.Limits = jinja.Limits{Steps: 200_000, Memory: 32 << 20}
			}
			_, err = tm.Render(Conversation{Messages: json.RawMessage(`[{"role": "user", "content": "x"}]`)}, Options{})
		}
		if name == "deep" {
			if err != nil {
				t.Errorf("%s: %v", name, err) // only text
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if d := time.Since(start); d > 15*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{"{{ messages[0].content }}", "{%- for m in messages %}{{ m.role | upper ~ loop.index }}{% endfor %}",
		"{% set x = 1 if y else 2 %}{# c #}{{ x // 0 }}",
		"{% macro a(b, c='d') %}{{ b ~ c }}{% endmacro %}{{ a(1)[::-1] }}", "{% raw %}{{ {% endraw %}",
		"{{ {'a': [1, (2,)]} | tojson(indent=2) }}{{ 'x'.split('y', 1) }}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		tm, err := New(src, map[string]string{"eos_token": "</s>"})
		if err != nil {
			return
		}
		tm.Limits = jinja.Limits{Steps: 10000, Output: 1 << 16, Memory: 1 << 20, Time: time.Second}
		_,
			_ = tm.Render(Conversation{Messages: json.RawMessage(`[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]`)}, Options{})
	})
}
