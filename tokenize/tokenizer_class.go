package tokenize

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// transformersClasses is written by interop/golden/tokenizer_classes.py.
//
//go:embed transformers_classes.json
var transformersClasses []byte

// tokenizerClass is what a fast tokenizer class of transformers brings along. A nil one brings nothing, like PreTrainedTokenizerFast.
type tokenizerClass struct {
	tokens map[string]string // special tokens by name, where the files name none
	// template: the class puts a post-processor of its own in place of tokenizer.json's, which adds bos and eos as add_bos_token and
	// add_eos_token say.
	template       bool
	addBOS, addEOS bool  // their defaults
	prefix         *bool // add_prefix_space where no file says it; nil: as tokenizer.json has it
}

// Prefix is the class's add_prefix_space, where the files do not say it; nil where the pre-tokenizer of tokenizer.json stays as it is.
func (c *tokenizerClass) Prefix() *bool {
	if c == nil {
		return new(bool)
	}
	return c.prefix
}

// Special is a special token of the class, "" where it has none.
func (c *tokenizerClass) Special(role string) string {
	if c == nil {
		return ""
	}
	return c.tokens[role]
}

var classRows = sync.OnceValue(func() (t struct {
	Classes map[string]map[string]any `json:"classes"`
	Models  map[string]string         `json:"models"` // by model_type
}) {
	if err := json.Unmarshal(transformersClasses, &t); err != nil {
		panic(fmt.Sprintf("tokenize: transformers_classes.json: %v", err))
	}
	return t
})

// classOf is the class that tokenizer_config.json names, or config.json, or that goes with the kind of model.
func classOf(config, model map[string]json.RawMessage) *tokenizerClass {
	text := func(raw json.RawMessage) (s string) {
		_ = json.Unmarshal(raw, &s) // null and other kinds name none
		return s
	}
	t := classRows()
	name := text(config["tokenizer_class"])
	if name == "" {
		name = text(model["tokenizer_class"])
	}
	if name == "" {
		name = t.Models[text(model["model_type"])]
	}
	row, ok := t.Classes[strings.TrimSuffix(name, "Fast")]
	if !ok {
		return nil
	}
	c := &tokenizerClass{tokens: map[string]string{}, prefix: new(bool)}
	for k, v := range row {
		switch v := v.(type) {
		case nil:
			c.prefix = nil
		case bool:
			c.prefix = &v
		case string:
			c.tokens[k] = v
		case []any:
			c.template, c.addBOS, c.addEOS = true, v[0] == true, v[1] == true
		}
	}
	return c
}
