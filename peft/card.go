package peft

import (
	"fmt"
	"strings"
)

// Card is what the model card of a saved adapter says beside what the adapter itself knows.
type Card struct {
	Title    string      // heading; empty for the base model's name and the method
	Summary  string      // a paragraph of Markdown
	License  string      // SPDX identifier as the hub writes it ("apache-2.0"), may be empty
	Language []string    // codes of the languages
	Datasets []string    // names of the data sets trained on
	Tags     []string    // beside the method's own
	Training [][2]string // settings of the training: name and value, in order
	Results  [][2]string // measured results: name and value, in order
	Version  string      // of adaptflow
	Trained  int         // values that training moved (train.TrainedCount); 0 for all trainable ones
	// ModelConfig is config.json of the base model with the head that the adapter trains, of a classifier; nil for none.
	ModelConfig []byte
}

// yaml quotes a scalar where a YAML reader might take it for something else.
func yaml(s string) string {
	plain := s != ""
	for i, r := range s {
		switch {
		case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z', i > 0 && (r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' || r == '/'):
		default:
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		plain = false
	}
	if plain {
		return s
	}
	return string(encode(s, ""))
}

// render writes the card: a YAML header that the hub reads, then Markdown.
func (c Card) render(a *Adapter) string {
	var b strings.Builder
	list := func(key string, items []string) {
		if len(items) == 0 {
			return
		}
		fmt.Fprintf(&b, "%s:\n", key)
		for _, s := range items {
			fmt.Fprintf(&b, "- %s\n", yaml(s))
		}
	}
	base := a.env.BaseModel
	if p := commonOf(a.Method).BaseModel; base == "" && p != nil {
		base = *p
	}
	b.WriteString("---\n")
	if base != "" {
		fmt.Fprintf(&b, "base_model: %s\n", yaml(base))
	}
	list("datasets", c.Datasets)
	list("language", c.Language)
	library, use, version := "peft", "from peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"+
		"base = AutoModelForCausalLM.from_pretrained(%s)\nmodel = PeftModel.from_pretrained(base, \"path/to/this/folder\")",
		"PEFT "+peftVersion
	if f := formatOf(a.Method); f != nil {
		library, use, version = f.library, f.use, f.library+" "+f.version
	}
	row, err := find(a.Type())
	own := err == nil && row.registered
	if own {
		library = "adaptflow"
	}
	fmt.Fprintf(&b, "library_name: %s\n", library)
	if c.License != "" {
		fmt.Fprintf(&b, "license: %s\n", yaml(c.License))
	}
	if taskOf(a.sites) == seqCls {
		b.WriteString("pipeline_tag: text-classification\n")
	} else {
		b.WriteString("pipeline_tag: text-generation\n")
	}
	tags := map[string]bool{"adaptflow": true, strings.ToLower(a.Type()): true, "transformers": true}
	if base != "" {
		tags["base_model:adapter:"+base] = true
	}
	for _, t := range c.Tags {
		tags[t] = true
	}
	list("tags", sortedKeys(tags))
	b.WriteString("---\n\n")

	title := c.Title
	if title == "" {
		title = strings.TrimSpace(base + " " + a.Type())
	}
	fmt.Fprintf(&b, "# %s\n\n", title)
	if c.Summary != "" {
		fmt.Fprintf(&b, "%s\n\n", strings.TrimSpace(c.Summary))
	}
	trained := c.Trained
	if trained == 0 {
		trained = a.Trainable()
	}
	fmt.Fprintf(&b, "A %s adapter with %d trainable parameters on %d modules", a.Type(), trained, len(a.Targets()))
	if base != "" {
		fmt.Fprintf(&b, " of `%s`", base)
	}
	b.WriteString(".\n\n")
	table := func(heading, col string, rows [][2]string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(&b, "## %s\n\n| %s | value |\n|---|---|\n", heading, col)
		cell := strings.NewReplacer("|", "\\|", "\n", " ")
		for _, r := range rows {
			fmt.Fprintf(&b, "| %s | %s |\n", cell.Replace(r[0]), cell.Replace(r[1]))
		}
		b.WriteString("\n")
	}
	table("Results", "measure", c.Results)
	table("Training", "setting", c.Training)
	switch {
	case own:
		fmt.Fprintf(&b, "## Use\n\nHF PEFT does not have this method: a program that registers %s opens the folder.\n\n", a.Type())
	case base != "" && c.ModelConfig != nil:
		fmt.Fprintf(&b, "## Use\n\n`config.json` here has the names of the classes.\n\n```python\nfrom peft import PeftModel\nfrom "+
			"transformers import AutoConfig, AutoModelForSequenceClassification\n\n"+
			"folder = \"path/to/this/folder\"\nbase = AutoModelForSequenceClassification.from_pretrained(%s, "+
			"config=AutoConfig.from_pretrained(folder))\n"+
			"model = PeftModel.from_pretrained(base, folder)\n```\n\n", encode(base, ""))
	case base != "":
		fmt.Fprintf(&b, "## Use\n\n```python\n"+use+"\n```\n\n", encode(base, ""))
	}
	b.WriteString("### Framework versions\n\n")
	if c.Version != "" {
		fmt.Fprintf(&b, "- adaptflow %s\n", c.Version)
	}
	fmt.Fprintf(&b, "- %s (format)\n", version)
	return b.String()
}
