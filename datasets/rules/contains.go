package rules

import (
	"errors"
	"fmt"
	"strings"
)

// Contains drops documents that have one of some texts in them, or keeps those alone.
type Contains struct {
	Texts      []string `yaml:"texts" json:"texts" help:"texts to look for"`
	Action     string   `yaml:"action" json:"action" help:"what is done: drop documents with one of them, or keep those alone"`
	IgnoreCase bool     `yaml:"ignore_case" json:"ignore_case" help:"capital and small letters are the same"`
	Least      int      `yaml:"least" json:"least" help:"how many occurrences of the texts together count as found"`
	Label      string   `yaml:"name" json:"name" help:"the reason in dead letters and counters; empty for contains"`

	texts []string
}

// NewContains drops documents with one occurrence.
func NewContains() *Contains { return &Contains{Action: actionDrop, Least: 1} }

// Name is "contains".
func (*Contains) Name() string { return "contains" }

// Prepare checks the texts.
func (c *Contains) Prepare() error {
	switch {
	case len(c.Texts) == 0:
		return errors.New("contains: texts names none; write what to look for, such as [cookie policy]")
	case c.Action != actionDrop && c.Action != actionKeep:
		return fmt.Errorf("contains: action is %q; it is drop or keep", c.Action)
	case c.Least < 1:
		return fmt.Errorf("contains: least is %d; it is at least 1", c.Least)
	}
	c.texts = nil
	for i, t := range c.Texts {
		if t == "" {
			return fmt.Errorf("contains: texts[%d] is empty, which every text has in it", i)
		}
		if c.IgnoreCase {
			t = lower(t)
		}
		c.texts = append(c.texts, t)
	}
	return labelled(c.Name(), c.Label)
}

// Apply counts the texts.
func (c *Contains) Apply(d *Doc) Verdict {
	text := d.Text
	if c.IgnoreCase {
		text = lower(text)
	}
	n := 0
	for i, t := range c.texts {
		if n += strings.Count(text, t); n >= c.Least {
			return found(d, c.Action, reasonOf(c.Label, c.Name()), c.Texts[i], c.Texts[i])
		}
	}
	return notFound(d, c.Action, reasonOf(c.Label, c.Name()), strings.Join(c.Texts, ", "))
}
