package clean

import (
	"testing"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// TestTools: a program that cleans has the tools of every rule that needs some, without an import of its own.
func TestTools(t *testing.T) {
	settings := map[string]string{"language": `, "languages": ["en"], "candidates": ["de"]`}
	for _, e := range rules.Table {
		if _, ok := e.New().(rules.User); !ok {
			continue
		}
		f := &RulesFn{Rules: `[{"rule": "` + e.Name + `"` + settings[e.Name] + `}]`, Language: "en"}
		if err := f.Setup(); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}
