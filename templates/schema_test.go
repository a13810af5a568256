package templates

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/adaptflow/adaptflow/recipe"
)

// TestRecipesFitTheSchema: every template, and every recipe that the README and the documents show, is one by the schema that editors check
// it with.
func TestRecipesFitTheSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(recipe.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("recipe.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("recipe.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, tpl := range List() {
		texts["template "+tpl.Name] = string(tpl.Text())
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob("../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, below...)
	shown := 0
	block := regexp.MustCompile("(?s)(?:<!-- test: ([^\n]*) -->\n)?```yaml\n(.*?)```")
	for _, page := range append(pages, "../README.md") {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatch(raw, -1) {
			if strings.Contains(string(m[1]), "with a mistake") {
				continue
			}
			texts[page+": "+string(m[2][:min(60, len(m[2]))])] = string(m[2])
			shown++
		}
	}
	if shown < 6 {
		t.Errorf("%d recipes in README and docs: where are they?", shown)
	}
	for name, text := range texts {
		if strings.Contains(name, ".md") && !strings.HasPrefix(text, "data:") && !strings.HasPrefix(text, "model:") &&
			!strings.HasPrefix(text, "train:") {
			t.Logf("%s is not a recipe", name)
			continue
		}
		if _, err := recipe.Parse(name, []byte(text)); err != nil {
			t.Error(err)
		}
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
