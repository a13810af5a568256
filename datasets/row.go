package datasets

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The kinds of rows, named as Hugging Face's TRL and the data sets that brought them up name them.
const (
	RowAuto             = "auto"
	RowPlain            = "plain"               // text
	RowPromptCompletion = "prompt_completion"   // prompt, completion: texts or lists of messages; tools
	RowMessages         = "messages"            // messages: role, content, …; tools
	RowAlpaca           = "alpaca"              // instruction, input, output
	RowShareGPT         = "sharegpt"            // conversations: from, value
	RowPreference       = "preference"          // prompt, chosen, rejected
	RowUnpaired         = "unpaired_preference" // prompt, completion, label
	RowTranslation      = "translation"         // a text in each of two languages, which Options.Translation names
)

// PreferenceAdvice and UnpairedAdvice say what to do with rows of preferences, which are known but of which no shards are made unless the recipe says what is learned from them.
const (
	PreferenceAdvice = "rows of preferences need a loss over pairs, and shards are for language modelling; to learn from the preferred completion alone set row_kind: preference " +
		"(or name its fields, with row_kind: prompt_completion and columns: {completion: chosen})"
	UnpairedAdvice = "rows with a label of true or false need a loss over preferences, and shards are for language modelling; to learn from the completions whose label is true alone " +
		"set row_kind: unpaired_preference"
)

// rowFields are the fields by which a kind is known, in the order in which kinds are tried.
var rowFields = []struct {
	kind   string
	fields []string
}{
	{RowPreference, []string{"chosen", "rejected"}},
	{RowUnpaired, []string{"prompt", "completion", "label"}},
	{RowPromptCompletion, []string{"prompt", "completion"}},
	{RowMessages, []string{"messages"}},
	{RowShareGPT, []string{"conversations"}},
	{RowAlpaca, []string{"instruction", "output"}},
	{RowAlpaca, []string{"instruction", "response"}},
}

// fieldNames are the names that Columns may map, by kind.
var fieldNames = []string{"prompt", "completion", "messages", "tools", "conversations", "instruction", "input", "output", "system", "chosen", "rejected", "label"}

func (o *Options) validateRows() error {
	kinds := []string{RowAuto, RowPlain, RowPromptCompletion, RowMessages, RowAlpaca, RowShareGPT, RowPreference, RowUnpaired, RowClassification}
	switch {
	case len(o.Translation) > 0 && (len(o.Translation) != 2 || o.Translation[0] == "" || o.Translation[1] == "" || o.Translation[0] == o.Translation[1]):
		return fmt.Errorf("translation: %v; write the two languages from and to, as [en, de]", o.Translation)
	case !slices.Contains(kinds, o.RowKind):
		return fmt.Errorf("row_kind %q is unknown; it is one of %s", o.RowKind, strings.Join(kinds, ", "))
	}
	for _, k := range slices.Sorted(maps.Keys(o.Columns)) {
		if !slices.Contains(fieldNames, k) {
			return fmt.Errorf("columns: %q is no field of a row; the fields are %s", k, strings.Join(fieldNames, ", "))
		}
		if o.Columns[k] == "" {
			return fmt.Errorf("columns: %s is mapped to no name", k)
		}
	}
	return nil
}

func (o *Options) column(name string) string {
	if c, ok := o.Columns[name]; ok {
		return c
	}
	return name
}

// kindOf sees the kind of a row from its fields. A text column makes it plain.
func (o *Options) kindOf(obj map[string]json.RawMessage) string {
	if len(o.Translation) > 0 {
		return RowTranslation
	}
	if o.RowKind != RowAuto {
		return o.RowKind
	}
	if _, ok := obj[o.TextColumn]; ok && len(o.Columns) == 0 {
		return RowPlain
	}
	for _, k := range rowFields {
		all := true
		for _, f := range k.fields {
			_, ok := obj[o.column(f)]
			all = all && ok
		}
		if all {
			return k.kind
		}
	}
	return RowPlain
}

// Row is the content of a row of several fields.
type Row struct {
	Kind       string          `json:"kind"` // RowPromptCompletion, RowMessages or RowClassification; the others become one of them
	Prompt     json.RawMessage `json:"prompt,omitempty"`
	Completion json.RawMessage `json:"completion,omitempty"`
	Messages   json.RawMessage `json:"messages,omitempty"`
	Tools      json.RawMessage `json:"tools,omitempty"`
	// Instruction and Input are those of an Alpaca row, whose prompt is made when it is known whether the model has a chat template.
	Instruction string `json:"instruction,omitempty"`
	Input       string `json:"input,omitempty"`
	// Label is the class of the text Prompt, of kind RowClassification.
	Label string `json:"label,omitempty"`
}

// chosen makes of a row of preferences the row of its preferred completion, under the fields' own names: prompt and completion, or messages where the prompt is
// within chosen, which is a conversation then (TRL's implicit prompt).
func (o *Options) chosen(obj map[string]json.RawMessage) (kind string, row map[string]json.RawMessage) {
	chosen := obj[o.column("chosen")]
	row = map[string]json.RawMessage{"tools": obj[o.column("tools")]}
	prompt, ok := obj[o.column("prompt")]
	if !ok && bytes.HasPrefix(bytes.TrimSpace(chosen), []byte("[")) {
		row["messages"] = chosen
		return RowMessages, row
	}
	row["completion"] = chosen
	if ok {
		row["prompt"] = prompt
	}
	return RowPromptCompletion, row
}

// desirable reads the label of a row of unpaired preferences: "" for true, undesirable for false, else what is wrong with it.
func (o *Options) desirable(obj map[string]json.RawMessage) (what string) {
	name := o.column("label")
	switch string(obj[name]) {
	case "true", "1":
		return ""
	case "false", "0":
		return undesirable
	}
	return name + ": want true or false"
}

// undesirable is what rowOf says of a row that is in order and has nothing to learn.
const undesirable = "label: false"

// rowOf reads the fields of a kind; what says what is wrong with them.
func (o *Options) rowOf(kind string, obj map[string]json.RawMessage) (rec Record, what string) {
	switch {
	case kind == RowUnpaired && o.RowKind != RowUnpaired:
		return rec, UnpairedAdvice
	case kind == RowUnpaired:
		if what = o.desirable(obj); what != "" {
			return rec, what
		}
		kind = RowPromptCompletion
	case kind == RowPreference && o.RowKind != RowPreference:
		return rec, PreferenceAdvice
	case kind == RowPreference:
		kind, obj = o.chosen(obj)
		o = &Options{}
	}
	row := Row{Kind: kind}
	var texts []string
	text := func(name string, needed bool) string {
		s, reason := jsonString(obj[o.column(name)])
		if reason != "" && needed && what == "" {
			what = fmt.Sprintf("%s: %s", o.column(name), reason)
		}
		return s
	}
	list := func(raw json.RawMessage, name string) bool {
		var ms []struct {
			Role    *string         `json:"role"`
			Content json.RawMessage `json:"content"`
		}
		if json.Unmarshal(raw, &ms) != nil || len(ms) == 0 {
			what = name + ": no list of messages"
			return false
		}
		for i, m := range ms {
			if m.Role == nil {
				what = fmt.Sprintf("%s[%d]: no role", name, i)
				return false
			}
			if s, reason := jsonString(m.Content); reason == "" {
				texts = append(texts, s)
			} else {
				var parts []struct{ Text string }
				if json.Unmarshal(m.Content, &parts) == nil {
					for _, p := range parts {
						texts = append(texts, p.Text)
					}
				}
			}
		}
		return true
	}
	switch kind {
	case RowPromptCompletion:
		row.Prompt, row.Completion = obj[o.column("prompt")], obj[o.column("completion")]
		p, c := bytes.TrimSpace(row.Prompt), bytes.TrimSpace(row.Completion)
		if len(p) > 0 && p[0] == '[' && len(c) > 0 && c[0] == '[' {
			_ = list(p, "prompt") && list(c, "completion")
		} else {
			texts = append(texts, text("prompt", true), text("completion", true))
		}
		row.Tools = obj[o.column("tools")]
	case RowMessages:
		row.Messages, row.Tools = obj[o.column("messages")], obj[o.column("tools")]
		list(row.Messages, "messages")
	case RowShareGPT:
		row.Kind = RowMessages
		var turns []struct{ From, Value, Role, Content string }
		if json.Unmarshal(obj[o.column("conversations")], &turns) != nil || len(turns) == 0 {
			return rec, "conversations: no list of turns"
		}
		roles := map[string]string{"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant", "bing": "assistant", "bard": "assistant",
			"system": "system", "tool": "tool", "function_response": "tool", "observation": "tool"}
		type message struct {
			Role    string `json:"role"`
			Content string `json:"content"`
		}
		var ms []message
		if s := text("system", false); s != "" {
			ms = append(ms, message{"system", s})
		}
		for i, t := range turns {
			role, ok := roles[strings.ToLower(t.From+t.Role)]
			if !ok {
				return rec, fmt.Sprintf("conversations[%d]: nobody is called %q", i, t.From+t.Role)
			}
			ms = append(ms, message{role, t.Value + t.Content})
		}
		row.Messages = encode(ms)
		row.Tools = obj[o.column("tools")]
		list(row.Messages, "conversations")
	case RowAlpaca:
		row.Kind = RowPromptCompletion
		row.Instruction, row.Input = text("instruction", true), text("input", false)
		name := "output"
		if _, ok := obj[o.column(name)]; !ok {
			name = "response"
		}
		out := text(name, true)
		row.Completion = encode(out)
		texts = append(texts, row.Instruction, row.Input, out)
	case RowTranslation:
		row.Kind = RowPromptCompletion
		from, to := o.Translation[0], o.Translation[1]
		if raw, ok := obj["translation"]; ok && obj[from] == nil {
			obj = nil
			if err := json.Unmarshal(raw, &obj); err != nil {
				return rec, "translation: no object of languages"
			}
		}
		for _, l := range o.Translation {
			s, reason := jsonString(obj[l])
			if s = strings.TrimSpace(s); reason == "" && s == "" {
				reason = ReasonEmptyText
			}
			if reason != "" {
				return rec, l + ": " + reason
			}
			texts = append(texts, s)
		}
		row.Prompt, row.Completion = encode(from+": "+texts[0]+"\n"+to+":"), encode(" "+texts[1])
	}
	if what != "" {
		return rec, what
	}
	if string(row.Tools) == "null" {
		row.Tools = nil
	}
	rec.Text = strings.TrimSpace(strings.Join(slices.DeleteFunc(texts, func(s string) bool { return s == "" }), "\n"))
	if rec.Text == "" {
		return rec, "no text"
	}
	rec.Row = string(encode(row))
	return rec, ""
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("datasets: a row cannot be written: %v", err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// RewriteRow applies do to every text of a row and returns the row and its texts, one after another.
func RewriteRow(row string, do func(string) string) (string, string, error) {
	var r Row
	if err := json.Unmarshal([]byte(row), &r); err != nil {
		return "", "", fmt.Errorf("row: %w", err)
	}
	var texts []string
	one := func(s string) string {
		if s == "" {
			return s
		}
		s = do(s)
		if s != "" {
			texts = append(texts, s)
		}
		return s
	}
	field := func(raw json.RawMessage) (json.RawMessage, error) {
		if len(raw) == 0 {
			return raw, nil
		}
		if s, reason := jsonString(raw); reason == "" {
			return encode(one(s)), nil
		}
		var ms []map[string]json.RawMessage
		if err := json.Unmarshal(raw, &ms); err != nil {
			return nil, err
		}
		for _, m := range ms {
			if s, reason := jsonString(m["content"]); reason == "" {
				m["content"] = encode(one(s))
			}
		}
		return encode(ms), nil
	}
	r.Instruction, r.Input = one(r.Instruction), one(r.Input)
	for _, f := range []*json.RawMessage{&r.Prompt, &r.Completion, &r.Messages} {
		var err error
		if *f, err = field(*f); err != nil {
			return "", "", fmt.Errorf("row: %w", err)
		}
	}
	return string(encode(r)), strings.Join(texts, "\n"), nil
}
