package recipe

import (
	"bytes"
	"fmt"
	"strings"
)

//go:generate go test -count=1 -run ^TestDocument$ . -update

// what says of a section what it is for.
var what = map[string]string{
	"model":     "The base model.",
	"data":      "What is read, and how.",
	"prepare":   "How documents are cleaned, deduplicated and become training sequences.",
	"method":    "The adapter's method and its fields, under HF PEFT's names: [methods.md](methods.md) describes each method.",
	"train":     "Training, under the names of Hugging Face's TrainingArguments where they exist there.",
	"evaluate":  "What is measured before and after training.",
	"export":    "What is written at the end.",
	"compare":   "A comparison of methods on one recipe.",
	"keys":      "An adapter for each key, which `data.key_column` turns on.",
	"continual": "Continual learning over the files of a folder.",
}

// Document is the reference page of all keys, in Markdown.
func Document() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, `# The keys of a recipe

Made by `+"`go generate ./recipe`"+` of the tags of the settings and the tables of methods, rules, optimisers and schedules; do not edit it.
`+"`adaptflow recipe keys [PATTERN]`"+` prints the same list.

A recipe is a YAML document of sections. A template has one; `+"`adaptflow run TEMPLATE --recipe FILE --set KEY=VALUE`"+` lays a file and settings over it. An unknown key is an
error. An editor with a YAML language server completes and checks a recipe by the JSON Schema that `+"`adaptflow recipe schema > recipe.schema.json`"+` prints, when the recipe
begins with

    # yaml-language-server: $schema=recipe.schema.json

NAME stands for a name of your own. The settings of cleaning rules and steps of deduplication are keys of the list's elements, beside `+"`rule: NAME`"+`; those of an
optimiser or a compression are written `+"`key=value,key=value`"+`.
A program of another module with methods, rules, objectives, measures or formats of its own lists their keys too.
`)
	section := ""
	for _, k := range AllKeys() {
		if s, _ := split(k.Path); s != section {
			section = s
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| key | type | default | values | what it is |\n|---|---|---|---|---|\n", s, what[s])
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", strings.TrimPrefix(k.Path, section+"."), k.Type, code(k.Given()),
			cell(k.Values()), cell(k.About()))
	}
	return b.Bytes()
}

// Given is the default as a recipe has it; "" where there is none.
func (k *Key) Given() string {
	if s := Shown(k.Default); s != "null" {
		return s
	}
	return ""
}

// Values says which values are accepted, "" for any.
func (k *Key) Values() string {
	if k.Enum == nil {
		return k.Bounds
	}
	var out []string
	for _, e := range k.Enum {
		if e == "" {
			e = `""`
		}
		out = append(out, e)
	}
	return strings.Join(out, ", ")
}

// About is the help, with what methods have the field, and its former name.
func (k *Key) About() string {
	s := k.Help
	if len(k.Of) > 0 {
		s += "; of " + strings.Join(k.Of, ", ")
	}
	if k.Alias != "" {
		s += "; its former name is " + k.Alias
	}
	return s
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(s, "|", `\|`) + "`"
}

func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(s)
}
