package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestRecipeKeys: what a person reads of a key, and what a program does.
func TestRecipeKeys(t *testing.T) {
	code, out, _ := ended(t, adaptflow("recipe", "keys", "train.warmup_ratio"))
	if code != 0 || out != "train.warmup_ratio                           number     default 0\n    between 0 and 1\n    warm-up as a "+
		"share of all steps, when warmup_steps is 0\n" {
		t.Errorf("%d %q", code, out)
	}
	code, out, _ = ended(t, adaptflow("recipe", "keys", "--json"))
	var keys []map[string]any
	if err := json.Unmarshal([]byte(out), &keys); err != nil || code != 0 || len(keys) < 300 {
		t.Errorf("%d, %v: %d keys", code, err, len(keys))
	}
	if code, out, _ = ended(t, adaptflow("recipe", "schema")); code != 0 ||
		!strings.Contains(out, `"https://json-schema.org/draft/2020-12/schema"`) {
		t.Errorf("%d %.100s", code, out)
	}
	if code, _, _ = ended(t, adaptflow("recipe", "keys", "no_such_key")); code != 2 {
		t.Errorf("a key that is not there: %d", code)
	}
}
