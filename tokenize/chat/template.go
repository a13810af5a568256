// Package chat renders conversations with a model's chat template, as transformers' apply_chat_template does, and makes token ids and
// labels of them, as TRL's SFTTrainer does.
package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"time"
	"unicode"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// Template is a model's chat template with the special tokens that it may name. It may be used from several goroutines at once.
type Template struct {
	Source  string
	t       *jinja.Template
	special *jinja.Dict
	marks   bool

	// Limits bound one rendering; zero fields have jinja's defaults.
	Limits jinja.Limits
	// Budget bounds all renderings of a run together; templates of one run and one source share it.
	Budget *jinja.Budget
	// Now is the clock of strftime_now; nil is the machine's. A reproducible run sets it.
	Now func() time.Time
}

// New reads a template. special are the special tokens by name (bos_token, …), in any order.
func New(source string, special map[string]string) (*Template, error) {
	return NewNamed("", source, special)
}

// NewNamed is New of a template that errors call by a name: of its file.
func NewNamed(name, source string, special map[string]string) (*Template, error) {
	t, err := jinja.ParseNamed(name, source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	d := jinja.NewDict()
	names := make([]string, 0, len(special))
	for n := range special {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		d.Set(n, special[n])
	}
	return &Template{Source: source, t: t, special: d, marks: marks(source), Budget: jinja.NewBudget(0)}, nil
}

// Marks tells whether the template says with {% generation %} what the assistant wrote, as assistant_only_loss needs.
func (t *Template) Marks() bool { return t.marks }

func marks(s string) bool {
	for {
		i := strings.Index(s, "{%")
		if i < 0 {
			return false
		}
		s = s[i+2:]
		if strings.HasPrefix(strings.TrimLeftFunc(strings.TrimLeft(s, "-+"), unicode.IsSpace), "generation") {
			return true
		}
	}
}

// Set are the chat templates of a model by name; the one without a name is "default".
type Set map[string]*Template

// Pick is the template of that name; without a name "tool_use" for conversations with tools where there is one, else "default".
func (s Set) Pick(name string, tools bool) (*Template, error) {
	if name == "" {
		name = "default"
		if _, ok := s["tool_use"]; ok && tools {
			name = "tool_use"
		}
	}
	if t, ok := s[name]; ok {
		return t, nil
	}
	if len(s) == 0 {
		return nil, errors.New("the model has no chat template; give one (chat_template), or a model made for chat")
	}
	names := make([]string, 0, len(s))
	for n := range s {
		names = append(names, n)
	}
	sort.Strings(names)
	return nil, fmt.Errorf("the model has no chat template named %q; it has %s", name, strings.Join(names, ", "))
}

// Load reads the chat templates of a model folder: chat_template.jinja and additional_chat_templates/, else chat_template of
// tokenizer_config.json (one text, or a list of named ones), with the special tokens of tokenizer_config.json and special_tokens_map.json.
// A folder without a template gives an empty set.
func Load(dir string) (Set, error) {
	s, err := load(os.DirFS(dir), ".", dir)
	if err != nil {
		return nil, fmt.Errorf("folder %s: %w", dir, err)
	}
	return s, nil
}

// LoadFS is Load on a folder of a file system.
func LoadFS(fsys fs.FS, dir string) (Set, error) { return load(fsys, dir, dir) }

// load is LoadFS of a folder that errors call shown.
func load(fsys fs.FS, dir, shown string) (Set, error) {
	special, err := tokenize.SpecialTokens(fsys, dir)
	if err != nil {
		return nil, err
	}
	sources, files := map[string]string{}, map[string]string{}
	read := func(name, file string) error {
		b, err := storage.ReadSmallFS(fsys, path.Join(dir, file), storage.KindTemplate)
		if err == nil {
			sources[name], files[name] = string(b), path.Join(shown, file)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := read("default", "chat_template.jinja"); err != nil {
		return nil, err
	}
	const more = "additional_chat_templates"
	entries, err := fs.ReadDir(fsys, path.Join(dir, more))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".jinja"); ok {
			if err := read(n, path.Join(more, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	if len(sources) == 0 {
		if sources, err = configTemplates(fsys, dir); err != nil {
			return nil, err
		}
	}
	set := Set{}
	for n, src := range sources {
		name := files[n]
		if name == "" {
			name = fmt.Sprintf("the chat_template %q of %s", n, path.Join(shown, "tokenizer_config.json"))
		}
		if set[n], err = NewNamed(name, src, special); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func configTemplates(fsys fs.FS, dir string) (map[string]string, error) {
	out := map[string]string{}
	m, err := storage.ReadObject(fsys, path.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, err
	}
	raw, ok := m["chat_template"]
	if !ok || string(raw) == "null" {
		return out, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		out["default"] = one
		return out, nil
	}
	var list []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		if err := json.Unmarshal(raw, &out); err != nil {
			return nil, errors.New("tokenizer_config.json: chat_template is neither a text nor a list of {name, template}")
		}
		return out, nil
	}
	for _, t := range list {
		if t.Name == "" {
			return nil, errors.New("tokenizer_config.json: a template of the list chat_template has no name")
		}
		out[t.Name] = t.Template
	}
	return out, nil
}

// Conversation is what a template renders, as JSON values with their keys in order.
type Conversation struct {
	Messages  json.RawMessage // a list of messages: role, content, tool_calls, …
	Tools     json.RawMessage // a list of tools' JSON schemas; nil: none
	Documents json.RawMessage // nil: none
	Kwargs    json.RawMessage // an object of more variables (enable_thinking, …); nil: none
	// Learn says of messages, by their place, whether they are learnt; nil: as the loss says.
	Learn []Learning
}

// Options are those of apply_chat_template.
type Options struct {
	AddGenerationPrompt  bool
	ContinueFinalMessage bool // leave the last message open
}

// Rendered is a rendered conversation.
type Rendered struct {
	Text  string
	Steps int // what it took: see jinja.Limits
	// Assistant are the parts inside {% generation %}, in code points.
	Assistant []jinja.Span
}

const continueTag = "CONTINUE_FINAL_MESSAGE_TAG "

// Render renders a conversation. It changes nothing and is the same for the same input and clock. A template's own complaint
// (raise_exception) is a *jinja.Error of kind TemplateError.
func (t *Template) Render(c Conversation, o Options) (*Rendered, error) {
	vars := jinja.NewDict()
	for _, k := range t.special.Keys() {
		v, _ := t.special.Get(k)
		vars.Set(k, v)
	}
	messages, err := value(c.Messages, "messages")
	if err != nil {
		return nil, err
	}
	list, ok := messages.(*jinja.List)
	if !ok {
		return nil, errors.New("messages is not a list of messages")
	}
	final := ""
	if o.ContinueFinalMessage {
		if o.AddGenerationPrompt {
			return nil, errors.New("continue_final_message and add_generation_prompt exclude each other")
		}
		if final, err = tagFinal(list); err != nil {
			return nil, err
		}
	}
	vars.Set("messages", list)
	for name, raw := range map[string]json.RawMessage{"tools": c.Tools, "documents": c.Documents} {
		v, err := value(raw, name)
		if err != nil {
			return nil, err
		}
		if _, ok := v.(*jinja.List); !ok && v != nil {
			return nil, fmt.Errorf("%s is not a list", name)
		}
		vars.Set(name, v)
	}
	vars.Set("add_generation_prompt", o.AddGenerationPrompt)
	kw, err := value(c.Kwargs, "template variables")
	if err != nil {
		return nil, err
	}
	if kw != nil {
		d, ok := kw.(*jinja.Dict)
		if !ok {
			return nil, errors.New("the template variables are not an object")
		}
		for _, k := range d.Keys() {
			v, _ := d.Get(k)
			vars.Set(k, v)
		}
	}
	out, err := t.t.Run(vars, jinja.Options{Limits: t.Limits, Now: t.Now, Budget: t.Budget,
		Input: len(c.Messages) + len(c.Tools) + len(c.Documents) + len(c.Kwargs)})
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	text := out.Text
	if o.ContinueFinalMessage {
		tag := strings.TrimSpace(continueTag)
		at := strings.LastIndex(text, tag)
		if at < 0 || !strings.Contains(text, strings.TrimFunc(final, unicode.IsSpace)) {
			return nil, errors.New("continue_final_message: the final message is not in the rendered text; the template leaves a part of " +
				"it out")
		}
		kept := text[:at]
		if !strings.HasPrefix(text[at:], continueTag) { // the template trimmed the message
			kept = strings.TrimRightFunc(kept, unicode.IsSpace)
		}
		text = kept
	}
	return &Rendered{text, out.Steps, out.Spans}, nil
}

func value(raw json.RawMessage, name string) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := jinja.FromJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// tagFinal marks the end of the final message's text and returns it.
func tagFinal(list *jinja.List) (string, error) {
	if len(list.Items) == 0 {
		return "", errors.New("continue_final_message: there is no message")
	}
	m, ok := list.Items[len(list.Items)-1].(*jinja.Dict)
	if !ok {
		return "", errors.New("the final message is not an object")
	}
	switch c, _ := m.Get("content"); c := c.(type) {
	case string:
		m.Set("content", c+continueTag)
		return c, nil
	case *jinja.List:
		for i := len(c.Items) - 1; i >= 0; i-- {
			if block, ok := c.Items[i].(*jinja.Dict); ok {
				if text, ok := block.Get("text"); ok {
					if s, ok := text.(string); ok {
						block.Set("text", s+continueTag)
						return s, nil
					}
				}
			}
		}
	}
	return "", errors.New("continue_final_message: the final message has no text to continue")
}
