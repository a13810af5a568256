package rules

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// What [Regex] and [Contains] do with a document in which they find something.
const (
	actionDrop    = "drop"
	actionKeep    = "keep" // documents in which nothing is found are dropped
	actionReplace = "replace"
)

// Regex drops, keeps or rewrites documents by regular expressions of RE2's syntax (Go's package regexp), whose time is linear in the text.
type Regex struct {
	Patterns    []string `yaml:"patterns" json:"patterns" help:"regular expressions in RE2's syntax; (?i) ignores case, (?m) lets ^ and $ match at lines"`
	Action      string   `yaml:"action" json:"action" help:"what is done: drop documents that match one of them, keep those alone, or replace what matches"`
	Replacement string   `yaml:"replacement" json:"replacement" help:"what stands in place of a match, with $1 for its first group; empty takes it out"`
	Label       string   `yaml:"name" json:"name" help:"the reason in dead letters and counters; empty for regex"`

	compiled []*regexp.Regexp
}

// NewRegex drops what matches.
func NewRegex() *Regex { return &Regex{Action: actionDrop} }

// Name is "regex".
func (*Regex) Name() string { return "regex" }

// Prepare compiles the expressions.
func (r *Regex) Prepare() error {
	switch {
	case len(r.Patterns) == 0:
		return errors.New("regex: patterns names none; write regular expressions, such as ['(?i)subscribe to our newsletter']")
	case r.Action != actionDrop && r.Action != actionKeep && r.Action != actionReplace:
		return fmt.Errorf("regex: action is %q; it is drop, keep or replace", r.Action)
	case r.Replacement != "" && r.Action != actionReplace:
		return fmt.Errorf("regex: replacement goes with action: replace")
	}
	r.compiled = nil
	for i, p := range r.Patterns {
		re, err := regexp.Compile(p)
		if err != nil {
			hint := ""
			if strings.Contains(p, "(?=") || strings.Contains(p, "(?!") || strings.Contains(p, "(?<") {
				hint = "; RE2 has no look-around, so that a text takes linear time"
			}
			return fmt.Errorf("regex: patterns[%d] %q: %w%s", i, p, err, hint)
		}
		if r.Action != actionReplace && p == "" {
			return fmt.Errorf("regex: patterns[%d] is empty and matches every text", i)
		}
		r.compiled = append(r.compiled, re)
	}
	return labelled(r.Name(), r.Label)
}

// Apply looks for the expressions in their order.
func (r *Regex) Apply(d *Doc) Verdict {
	if r.Action == actionReplace {
		v := Verdict{Keep: true, Text: d.Text}
		n := 0
		for _, re := range r.compiled {
			if k := len(re.FindAllStringIndex(v.Text, -1)); k > 0 {
				n += k
				v.Text = re.ReplaceAllString(v.Text, r.Replacement)
			}
		}
		if strip(v.Text) == "" && strip(d.Text) != "" {
			return drop("empty", 0, 1)
		}
		if n > 0 {
			v.Counters = []Counter{{reasonOf(r.Label, "replaced"), n}}
		}
		return v
	}
	for _, re := range r.compiled {
		if m := re.FindStringIndex(d.Text); m != nil {
			return found(d, r.Action, reasonOf(r.Label, r.Name()), d.Text[m[0]:m[1]], re.String())
		}
	}
	return notFound(d, r.Action, reasonOf(r.Label, r.Name()), strings.Join(r.Patterns, ", "))
}

// found is the verdict on a document in which something was found.
func found(d *Doc, action, reason, value, want string) Verdict {
	if action == actionKeep {
		return keep(d)
	}
	return Verdict{Reason: reason, Value: cutTo(value, 200), Threshold: "not " + cutTo(want, 200)}
}

// notFound is the verdict on a document in which nothing was found.
func notFound(d *Doc, action, reason, want string) Verdict {
	if action != actionKeep {
		return keep(d)
	}
	return Verdict{Reason: reason, Value: "none", Threshold: cutTo(want, 200)}
}

// cutTo is the beginning of a text, at a character.
func cutTo(s string, n int) string {
	for i := range s {
		if i > n {
			return s[:i] + "…"
		}
	}
	return s
}

// labels are names that dead letters, counters and metrics can have as they are.
var labels = regexp.MustCompile(`^[A-Za-z0-9_-]{0,64}$`)

func labelled(rule, label string) error {
	if !labels.MatchString(label) {
		return fmt.Errorf("%s: name is %q; it has letters, digits, _ and -, at most 64 of them", rule, label)
	}
	return nil
}

// reasonOf is what a rule of the recipe's own rejects by.
func reasonOf(label, other string) string {
	if label != "" {
		return label
	}
	return other
}
