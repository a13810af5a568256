package langid

import (
	"testing"

	"github.com/adaptflow/adaptflow/datasets/rules"
)

// TestCodes: the rule takes the codes of the languages that lingua knows, and no others.
func TestCodes(t *testing.T) {
	known := 0
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			code, other := string([]rune{a, b}), "en"
			if code == other {
				other = "de"
			}
			_, refused := rules.Decode(map[string]any{"rule": "language", "languages": []string{code}, "candidates": []string{code, other}})
			if _, err := New([]string{code, other}, true); (err == nil) != (refused == nil) {
				t.Errorf("%s: the rule says %v, lingua %v", code, refused, err)
			}
			if refused == nil {
				known++
			}
		}
	}
	if known != 75 {
		t.Errorf("%d languages", known)
	}
}
