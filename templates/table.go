package templates

import (
	"embed"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/internal/nearest"
	"github.com/adaptflow/adaptflow/recipe"
)

//go:embed recipes
var recipes embed.FS

// Template is an embedded recipe.
type Template struct {
	Name    string
	Summary string // one line
	File    string // in recipes/
}

// table is the list of templates. Adding one is a file and a row.
var table = []Template{
	{Name: "classification", Summary: "train a classifier of texts on rows of a text and a label, and measure accuracy and macro F1",
		File: "classification.yaml"},
	{Name: "domain-adaptation", Summary: "adapt a language model to the text of a domain, and measure what it gained and forgot",
		File: "domain-adaptation.yaml"},
	{Name: "continued-pretraining", Summary: "go on with a small base model's pretraining on plain text: full fine-tuning by Muon",
		File: "continued-pretraining.yaml"},
	{Name: "distillation", Summary: "learn the distributions of other models, or of several trainings of one, beside or in place of the " +
		"text itself", File: "distillation.yaml"},
	{Name: "continual-learning", Summary: "adapt to the files of a folder as they come, increment by increment, with replay: a rise of " +
		"general perplexity beyond a limit is rolled back", File: "continual-learning.yaml"},
	{Name: "compare-methods", Summary: "compare adapter methods on one recipe: equal budgets, a sweep of learning rates, gain against " +
		"forgetting", File: "compare-methods.yaml"},
	{Name: "personal-assistants", Summary: "an adapter for each person, customer or topic of the data, many trained together over one " +
		"base, each measured on its own held-out text", File: "personal-assistants.yaml"},
	{Name: "instruction-tuning", Summary: "teach a language model to answer, with a loss on answers alone, and measure answers before " +
		"and after", File: "instruction-tuning.yaml"},
	{Name: "preference-tuning", Summary: "teach which of two answers is better, by DPO or another objective over answers: reward " +
		"accuracy, KL to the base, length and forgetting", File: "preference-tuning.yaml"},
	{Name: "reward-model", Summary: "train a reward model on pairs of answers, a head of one score, and measure how often it is right",
		File: "reward-model.yaml"},
	{Name: "grpo", Summary: "learn from rewards of the model's own answers (GRPO, RLOO): sampled, scored and trained on in rounds, and " +
		"measured on held-out prompts", File: "grpo.yaml"},
	{Name: "multilingual-adaptation", Summary: "adapt a language model to languages, sampled with a temperature: perplexity by language, " +
		"chrF of translations, forgetting of English", File: "multilingual-adaptation.yaml"},
}

// List returns the templates in the order of the table.
func List() []Template { return append([]Template(nil), table...) }

// Get finds a template. An unknown name is an error that gives the nearest.
func Get(name string) (*Template, error) {
	var names []string
	for i := range table {
		if table[i].Name == name {
			t := table[i]
			return &t, nil
		}
		names = append(names, table[i].Name)
	}
	return nil, fmt.Errorf("unknown template %q; the nearest is %q (adaptflow templates list shows all)", name, nearest.Name(name, names))
}

// Text is the template's recipe as YAML, with its comments.
func (t *Template) Text() []byte {
	b, err := recipes.ReadFile("recipes/" + t.File)
	if err != nil {
		panic(fmt.Sprintf("templates: %v", err))
	}
	return b
}

// Defaults is the template's recipe over the defaults of package recipe.
func (t *Template) Defaults() (*recipe.Recipe, error) { return t.Resolve("", nil, nil) }

// Resolve makes the recipe of the template, a recipe file (name and text; none when text is nil) and settings "key=value" in their
// order. A key is a parameter of the template, a dotted path of the recipe, or a last part that only one path has.
//
// Input of the user's own leaves the template's held-out text, column names, prompts and rule of answers behind: a part of that input is
// held out instead, unless the file or the settings name eval_input. A model of the user's own leaves behind what suits the template's
// small one: the learning rate, the dtype and whether prompts become turns are left to the model (see [recipe.LeaveToModel]).
func (t *Template) Resolve(file string, text []byte, settings []string) (*recipe.Recipe, error) {
	base, err := recipe.Parse("template "+t.Name, t.Text())
	if err != nil {
		return nil, err
	}
	var upper []recipe.Layer
	if text != nil {
		l, err := recipe.Parse(file, text)
		if err != nil {
			return nil, err
		}
		upper = append(upper, l)
	}
	given := map[string]string{}
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		if !ok {
			return nil, fmt.Errorf("setting %q has no value; write %s=VALUE", s, s)
		}
		l, err := set(strings.TrimSpace(key), value)
		if err != nil {
			return nil, err
		}
		given[strings.TrimSpace(key)] = value
		upper = append(upper, l)
	}
	if _, ok := given["steps"]; ok {
		if _, ok := given["epochs"]; ok {
			return nil, fmt.Errorf("steps and epochs are both set; set one of them")
		}
	}
	own := map[string]bool{}
	for _, l := range upper {
		for section, kv := range l {
			for k := range kv {
				own[section+"."+k] = true
			}
		}
	}
	if own["data.sources"] { // they are the input
		delete(base["data"], "input")
		delete(base["data"], "eval_input")
	} else if own["data.input"] {
		delete(base["data"], "sources")
		delete(base["data"], "sampling_temperature")
	}
	if own["data.input"] || own["data.sources"] {
		if !own["data.eval_input"] && own["data.input"] {
			base["data"]["eval_input"] = []string{}
		}
		if _, ok := base["data"]["columns"]; ok && !own["data.columns"] {
			base["data"]["columns"] = map[string]string{}
		}
		if _, ok := base["evaluate"]["answer_match"]; ok && !own["evaluate.answer_match"] {
			delete(base["evaluate"], "answer_match")
		}
		if !own["evaluate.prompts"] {
			if base["evaluate"] == nil {
				base["evaluate"] = map[string]any{}
			}
			base["evaluate"]["prompts"] = []string{}
		}
	}
	if path := modelOf(upper); path != "" && path != base["model"]["path"] && !strings.HasPrefix(path, "embedded:") {
		objective, _ := base["train"]["objective"].(string)
		recipe.LeaveToModel(base, func(path string) bool { return own[path] }, objective != "" || own["train.objective"])
	}
	if own["train.num_train_epochs"] && !own["train.max_steps"] {
		base["train"]["max_steps"] = -1
	}
	return recipe.Resolve(append([]recipe.Layer{base}, upper...)...)
}

// modelOf is the base model that the layers name last; "" where none does.
func modelOf(layers []recipe.Layer) (path string) {
	for _, l := range layers {
		if p, ok := l["model"]["path"]; ok {
			path = fmt.Sprint(p)
		}
	}
	return path
}

// set turns a setting into a layer: a parameter of the template first, then a key of the recipe.
func set(key, value string) (recipe.Layer, error) {
	for _, p := range parameters {
		if p.Name == key {
			l, err := recipe.Set(p.Path, value)
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", key, err)
			}
			return l, nil
		}
	}
	l, err := recipe.Set(key, value)
	if err != nil && strings.HasPrefix(err.Error(), "unknown setting") && !strings.Contains(key, ".") {
		names := []string{}
		for _, p := range parameters {
			names = append(names, p.Name)
		}
		for _, f := range recipe.Fields() {
			names = append(names, f.Path[strings.Index(f.Path, ".")+1:])
		}
		return nil, fmt.Errorf("unknown parameter %q; the nearest known one is %q", key, nearest.Name(key, names))
	}
	return l, err
}
