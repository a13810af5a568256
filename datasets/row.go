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
	RowPromptCompletion = "prompt_completion"   // prompt, completion: texts or lists of messages; tools, chat_template_kwargs
	RowMessages         = "messages"            // messages: role, content, …; tools, chat_template_kwargs
	RowAlpaca           = "alpaca"              // instruction, input, output; system, history
	RowShareGPT         = "sharegpt"            // conversations: from, value; system, tools
	RowPreference       = "preference"          // prompt, chosen, rejected
	RowUnpaired         = "unpaired_preference" // prompt, completion, label
	RowTranslation      = "translation"         // a text in each of two languages, which Options.Translation names
)

// PreferenceAdvice and UnpairedAdvice say what to do with rows of preferences, which are known but of which no shards are made unless the
// recipe says what is learned from them.
const (
	PreferenceAdvice = "rows of preferences need a loss over pairs, such as train.objective: dpo; to learn from the preferred " +
		"completion alone set row_kind: preference " +
		"(or name its fields, with row_kind: prompt_completion and columns: {completion: chosen})"
	UnpairedAdvice = "rows with a label of true or false need a loss over preferences, such as train.objective: kto; to learn " +
		"from the completions whose label is true alone " +
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
var fieldNames = []string{"prompt", "completion", "messages", "tools", "chat_template_kwargs", "conversations", "instruction", "input",
	"output", "system", "history", "chosen",
	"rejected", "label", "margin"}

// rowKinds are the kinds that a row may be said to have.
var rowKinds = []string{RowAuto, RowPlain, RowPromptCompletion, RowMessages, RowAlpaca, RowShareGPT, RowPreference, RowUnpaired,
	RowClassification}

func (o *Options) validateRows() error {
	if len(o.Translation) > 0 && (len(o.Translation) != 2 || o.Translation[0] == "" || o.Translation[1] == "" ||
		o.Translation[0] == o.Translation[1]) {
		return fmt.Errorf("translation is %v; it must be the two languages from and to, as [en, de]", o.Translation)
	}
	for _, k := range slices.Sorted(maps.Keys(o.Columns)) {
		if !slices.Contains(fieldNames, k) {
			return fmt.Errorf("columns: %q is not a field of a row; the fields are %s", k, strings.Join(fieldNames, ", "))
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
	if o.Answers == KindPrompt {
		return RowPromptCompletion // of which only the prompt must be there
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
	// Instruction, Input, System and History (questions and answers before) are those of an Alpaca row, which has no Prompt: it is made
	// when it is known whether the model has a chat template.
	Instruction string      `json:"instruction,omitempty"`
	Input       string      `json:"input,omitempty"`
	System      string      `json:"system,omitempty"`
	History     [][2]string `json:"history,omitempty"`
	// Kwargs are more variables of the chat template, TRL's chat_template_kwargs.
	Kwargs json.RawMessage `json:"chat_template_kwargs,omitempty"`
	// Label is the class of the text Prompt, of kind RowClassification.
	Label string `json:"label,omitempty"`
	// Rejected is the answer that Completion is preferred to, and Desirable whether Completion is one to give: of rows that are read for an
	// objective over answers, of the kinds RowPreference and RowUnpaired.
	Rejected  json.RawMessage `json:"rejected,omitempty"`
	Desirable *bool           `json:"desirable,omitempty"`
	// Margin is by how much a reward model should score Completion above Rejected; nil where the row does not say.
	Margin *float64 `json:"margin,omitempty"`
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
