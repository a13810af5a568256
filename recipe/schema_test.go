package recipe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compiled is the schema as a validator has it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("recipe.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("recipe.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON is a YAML document as a language server hands it to a validator.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	raw, err := json.Marshal(floats(v))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// floats reads numbers such as 1e-06, which are numbers in YAML 1.2 and texts to this library where it does not know the type.
func floats(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = floats(v[k])
		}
	case []any:
		for i := range v {
			v[i] = floats(v[i])
		}
	case string:
		if x, err := strconv.ParseFloat(v, 64); err == nil && strings.Contains(v, "e-") {
			return x
		}
	}
	return v
}

// TestSchemaTakesRecipes: what the program takes the schema takes, every key of it, and what the program writes.
func TestSchemaTakesRecipes(t *testing.T) {
	s := compiled(t)
	every, err := os.ReadFile("testdata/every_key.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(layer(t, string(every)))
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{
		string(every), string(r.YAML()),
		"train:\n  max_steps: -1\n  num_train_epochs: 3\n", "method:\n  r: 8\n  lora_alpha: 16\n",
		"method:\n  peft_type: ia3\n  target_modules: [q_proj]\n",
		"method:\n  peft_type: PREFIX_TUNING\n  num_virtual_tokens: 4\n  encoder_hidden_size: null\n",
		"data:\n  sources:\n    de: german/*.jsonl\n    fr: {input: [a, b], eval_input: c, weight: 0.5, max_tokens: 10}\n    en-de: " +
			"{input: p, translation: [en, de]}\n",
		"model:\n  memory_limit: 2000000000\nprepare:\n  add_eos: false\n  add_bos: auto\n",
		"train:\n  lr_scheduler_type: warmup_stable_decay\n  lr_scheduler_kwargs: {num_decay_steps: 10, decay_type: 1-sqrt}\n  optim: " +
			"adafactor\n  optim_args: \"scale_parameter=true, eps1=1e-30\"\n",
		"prepare:\n  clean: [ftfy, {rule: gopher_repetition, top_n_grams: [[2, 0.2]]}, {rule: decontamination, tasks: [{name: x, path: " +
			"y, query: q, label: l}]}]\n",
		"prepare:\n  clean: docs\n",
	} {
		if err := s.Validate(asJSON(t, text)); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if _, err := Parse("r.yaml", []byte(text)); err != nil {
			t.Errorf("%d: the program does not take it: %v", i, err)
		}
	}
}

// TestSchemaRefuses: a key that is not there, and a value of another type or beyond its bounds, are refused where they stand.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	for text, at := range map[string]string{
		"trian:\n  max_steps: 3\n":                     "",
		"train:\n  max_stepz: 3\n":                     "/train",
		"train:\n  max_steps: 0\n":                     "/train/max_steps",
		"train:\n  max_steps: 1.5\n":                   "/train/max_steps",
		"train:\n  max_steps: many\n":                  "/train/max_steps",
		"train:\n  adam_epsilon: 0\n":                  "/train/adam_epsilon",
		"train:\n  adam_beta1: 1\n":                    "/train/adam_beta1",
		"train:\n  optim: adamw\n":                     "/train/optim",
		"train:\n  optim: sgd\n  optim_args: beta=1\n": "/train/optim_args",
		"train:\n  lr_scheduler_type: linear\n  lr_scheduler_kwargs: {num_cycles: 1}\n": "/train/lr_scheduler_kwargs",
		"train:\n  compression: topk\n  compression_args: block_size=3\n":               "/train/compression_args",
		"method:\n  peft_type: LOAR\n":                                                  "/method/peft_type",
		"method:\n  peft_type: IA3\n  r: 8\n":                                           "/method",
		"method:\n  peft_type: LORA\n  r: eight\n":                                      "/method/r",
		"method:\n  rank: 8\n":                                                          "/method",
		"method:\n  peft_type: LORA\n  use_qalora: true\n":                              "/method/use_qalora",
		"data:\n  input: file.txt\n":                                                    "/data/input",
		"data:\n  sources: {de: {input: a, weigth: 1}}\n":                               "/data/sources/de",
		"data:\n  validation_fraction: 1\n":                                             "/data/validation_fraction",
		"prepare:\n  clean: [gopher]\n":                                                 "/prepare/clean/0",
		"prepare:\n  clean: [{rule: c4, min_words: 3}]\n":                               "/prepare/clean/0",
		"prepare:\n  dedupe: [{rule: minhash, num_buckets: many}]\n":                    "/prepare/dedupe/0",
		"prepare:\n  add_eos: maybe\n":                                                  "/prepare/add_eos",
		"compare:\n  learning_rates: [0.1, 0]\n":                                        "/compare/learning_rates/1",
		"evaluate:\n  top_p: 2\n":                                                       "/evaluate/top_p",
	} {
		err := s.Validate(asJSON(t, text))
		if err == nil {
			t.Errorf("taken:\n%s", text)
			continue
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("at '%s'", at)) {
			t.Errorf("%s: %v, want it at %s", text, err, at)
		}
	}
}
