package templates

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/recipe"
)

// Parameter is a typed value that a template takes by a short name.
type Parameter struct {
	Name string
	Path string // the recipe's key
	Type string // "string", "integer", "number", "boolean" or "list"
	Help string
	Enum []string
	// Default is the template's value.
	Default any
}

// parameters is the table of the names that every template has.
var parameters = []struct{ Name, Path, Help string }{
	{"model", "model.path", "base model: a Hugging Face folder, a GGUF file, or embedded:NAME"},
	{"input", "data.input", "text to adapt to: files or globs, separated by commas"},
	{"languages", "data.sources", "texts by language, or other named sources, in place of input: {de: german/*.jsonl, fr: {input: " +
		"[french/*.jsonl], eval_input: french.txt}}"},
	{"eval_input", "data.eval_input", "held-out text of the same kind; a part of the input when empty"},
	{"general_input", "data.general_input", "general text on which forgetting is measured"},
	{"format", "data.format", "format of the input"},
	{"text_column", "data.text_column", "field of JSONL or column of Parquet that holds the text"},
	{"label_column", "data.label_column", "field or column that holds the class of a text, of classifiers"},
	{"sequence_length", "prepare.sequence_length", "tokens of a packed sequence"},
	{"steps", "train.max_steps", "optimiser steps"},
	{"epochs", "train.num_train_epochs", "passes over the data, in place of steps"},
	{"batch_size", "train.per_device_train_batch_size", "packed sequences of a pass"},
	{"learning_rate", "train.learning_rate", "peak learning rate"},
	{"method", "method.peft_type", "adapter method, by its name in Hugging Face PEFT"},
	{"rank", "method.r", "rank of the adapter"},
	{"teacher", "train.teacher_model_name_or_path", "models to distil from, with the tokenizer of the base, separated by commas"},
	{"dtype", "model.dtype", "storage of the frozen weights"},
	{"replicas", "train.replicas", "workers that train together"},
	{"seed", "train.seed", "seed of initial values, order and dropout"},
	{"memory_limit", "model.memory_limit", "most memory training may take, such as 2GiB"},
}

// Parameters lists the template's parameters with their types and its defaults.
func (t *Template) Parameters() ([]Parameter, error) {
	r, err := t.Defaults()
	if err != nil {
		return nil, err
	}
	fields := map[string]settings.Field{"method.peft_type": {Type: "string"}, "method.r": {Type: "integer"}}
	for _, f := range recipe.Fields() {
		fields[f.Path] = f.Field
	}
	var out []Parameter
	for _, p := range parameters {
		f, ok := fields[p.Path]
		if !ok {
			return nil, fmt.Errorf("templates: parameter %s names %s, which a recipe does not have", p.Name, p.Path)
		}
		value, ok := r.Value(p.Path)
		if !ok {
			continue // full fine-tuning has no rank
		}
		out = append(out, Parameter{Name: p.Name, Path: p.Path, Type: f.Type, Help: p.Help, Enum: f.Enum, Default: plain(value)})
	}
	return out, nil
}

// plain is a value as JSON has it, numbers as they are written.
func plain(v any) (out any) {
	b, err := json.Marshal(v)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		err = d.Decode(&out)
	}
	if err != nil {
		panic(fmt.Sprintf("templates: a default cannot be written: %v", err))
	}
	return out
}

// Schema is a JSON Schema (draft 2020-12) of the template's parameters.
func (t *Template) Schema() ([]byte, error) {
	ps, err := t.Parameters()
	if err != nil {
		return nil, err
	}
	props := map[string]any{}
	for _, p := range ps {
		m := map[string]any{"description": p.Help, "type": p.Type, "default": p.Default}
		if p.Type == "list" {
			m["type"], m["items"] = "array", map[string]any{"type": "string"}
		}
		if p.Enum != nil {
			m["enum"] = p.Enum
		}
		props[p.Name] = m
	}
	return indent(map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"title":       t.Name,
		"description": t.Summary,
		"type":        "object", "properties": props, "additionalProperties": false,
	})
}

// Dataflow is the metadata of a Dataflow flex template: one entry a parameter, with the regular expression that its text must match.
func (t *Template) Dataflow() ([]byte, error) {
	ps, err := t.Parameters()
	if err != nil {
		return nil, err
	}
	patterns := map[string]string{"integer": `^-?[0-9]+$`, "number": `^-?[0-9.]+([eE][-+]?[0-9]+)?$`, "boolean": `^(true|false)$`}
	types := map[string]string{"integer": "NUMBER", "number": "NUMBER", "boolean": "BOOLEAN"}
	type option struct {
		Value string `json:"value"`
		Label string `json:"label"`
	}
	type entry struct {
		Name        string   `json:"name"`
		Label       string   `json:"label"`
		HelpText    string   `json:"helpText"`
		ParamType   string   `json:"paramType"`
		IsOptional  bool     `json:"isOptional"`
		Regexes     []string `json:"regexes,omitempty"`
		EnumOptions []option `json:"enumOptions,omitempty"`
	}
	var entries []entry
	for _, p := range ps {
		def := fmt.Sprint(p.Default)
		if l, ok := p.Default.([]any); ok {
			parts := make([]string, len(l))
			for i, v := range l {
				parts[i] = fmt.Sprint(v)
			}
			def = strings.Join(parts, ",")
		}
		if p.Type == "object" {
			b, err := json.Marshal(p.Default)
			if err != nil {
				return nil, err
			}
			if def = string(b); def == "{}" {
				def = ""
			}
		}
		e := entry{Name: p.Name, Label: p.Name, HelpText: p.Help, ParamType: "TEXT", IsOptional: true}
		if def != "" {
			e.HelpText += " (default " + def + ")"
		}
		if re := patterns[p.Type]; re != "" {
			e.Regexes, e.ParamType = []string{re}, types[p.Type]
		} else if p.Enum != nil {
			e.Regexes, e.ParamType = []string{"^(" + strings.Join(p.Enum, "|") + ")$"}, "ENUM"
			for _, v := range p.Enum {
				e.EnumOptions = append(e.EnumOptions, option{v, v})
			}
		}
		entries = append(entries, e)
	}
	store := []string{"^gs://[^/*?]+/[^*?]+$"}
	entries = append(entries, entry{Name: "output", Label: "output", HelpText: "gs:// folder that everything is written to",
		ParamType: "GCS_WRITE_FOLDER", Regexes: store},
		entry{Name: "work_location", Label: "work location", HelpText: "gs:// folder of staged data, checkpoints and what workers need " +
			"(default .work in the output)", ParamType: "GCS_WRITE_FOLDER", IsOptional: true, Regexes: store},
		entry{Name: "sdk_container_image", Label: "workers' image", HelpText: "container image of the workers: that of this template, or " +
			"another of the same program", ParamType: "TEXT", Regexes: []string{"^[a-z0-9][-a-zA-Z0-9._/:@]*$"}})
	return indent(map[string]any{"name": t.Name, "description": t.Summary, "parameters": entries})
}

func indent(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
