package peft

import (
	"slices"
	"strings"
	"testing"
)

// TestOptions: every field of every method has its help, and no help is of a field that no method has.
func TestOptions(t *testing.T) {
	used := map[string]bool{}
	for _, r := range Methods {
		names := map[string]bool{}
		for _, o := range r.Options() {
			if o.Help == "" || o.Schema == nil || names[o.Name] {
				t.Errorf("%s: %+v: write its help into helps", r.Type, o)
			}
			names[o.Name] = true
			used[o.Name], used[r.Type+"."+o.Name] = true, true
		}
	}
	for name, h := range helps {
		if !used[name] || strings.HasSuffix(h, ".") || strings.Contains(h, "\n") {
			t.Errorf("%s: %q is the help of no field, or more than a line", name, h)
		}
	}
	lora := Methods[slices.IndexFunc(Methods, func(r Row) bool { return r.Type == "LORA" })].Options()
	i := slices.IndexFunc(lora, func(o Option) bool { return o.Name == "r" })
	if lora[i].Default != 8.0 || lora[i].Schema["type"] != "integer" {
		t.Errorf("%+v", lora[i])
	}
}
