package recipe

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// laughs is a text of a few hundred bytes whose aliases stand for ten to the levels values.
func laughs(levels int) string {
	s := "data:\n  sources:\n    x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n"
	for i := 1; i < levels; i++ {
		s += fmt.Sprintf("    x%d: &x%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*x%d, ", i-1), 9)+fmt.Sprintf("*x%d", i-1))
	}
	return s
}

// TestYAMLOutOfProportion: a small text that would take the parser's time, stack or memory is refused at once, in one line.
func TestYAMLOutOfProportion(t *testing.T) {
	const n = 40000
	var stairs strings.Builder
	for i := range 1000 {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, c := range map[string]struct{ text, want string }{
		"lists":            {"data:\n  sources: " + strings.Repeat("[", n) + strings.Repeat("]", n), "nested"},
		"lists left open":  {"data:\n  sources: " + strings.Repeat("[", n), "nested"},
		"lists over lines": {"data:\n  sources:\n" + strings.Repeat("  [\n", n), "nested"},
		"mappings":         {"data:\n  sources: " + strings.Repeat("{a: ", n) + "1" + strings.Repeat("}", n), "nested"},
		"entries":          {"data:\n  sources:\n    " + strings.Repeat("- ", n) + "x", "nested"},
		"keys":             {"data:\n  sources:\n    " + strings.Repeat("? ", n) + "x", "nested"},
		"indents":          {stairs.String(), "nested"},
		"anchors":          {"data:\n  columns: " + strings.Repeat("&a ", n) + "{}", "marks"},
		"tags":             {"data:\n  columns: " + strings.Repeat("!!map ", n) + "{}", "marks"},
		"aliases":          {laughs(9), "more than 100000 values"},
		"an alias inside":  {"data:\n  sources: &a {x: *a}\n", "alias"},
		"values":           {"data:\n  input: [" + strings.Repeat("a,", 200_000) + "a]", "more than 100000 values"},
		"bytes":            {"# " + strings.Repeat("x", 5<<20), "may have 1.0 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan error, 1)
			go func() {
				_, err := Parse("r.yaml", []byte(c.text))
				if _, serr := Set("method.x", strings.TrimPrefix(c.text, "data:\n  sources: ")); serr == nil {
					err = fmt.Errorf("as a setting it is not an error, in a file %w", err)
				}
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "r.yaml: ") ||
					strings.Contains(err.Error(), "\n") || len(err.Error()) > 300 {
					t.Errorf("%v, want one line that says %q", err, c.want)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("still parsing")
			}
		})
	}
	// What a recipe may have is still read: anchors and aliases, brackets in strings, some depth.
	l := layer(t, "data:\n  input: &in [a.txt, b.txt]\n  eval_input: *in\n  columns: {prompt: \"[[[[ {{\", completion: '}}'}\nmethod:\n  "+
		"x:\n    - - - x\n")
	if got := fmt.Sprint(l["data"]["eval_input"]); got != "[a.txt b.txt]" {
		t.Errorf("an alias is read as %s", got)
	}
}
