package measure

import (
	"encoding/json"

	"github.com/adaptflow/adaptflow/evaluate"
)

// Changes are what was measured before and after training: the key eval of metrics.json.
type Changes struct {
	Domain  *ScoreChange `json:"domain,omitempty"`
	General *ScoreChange `json:"general,omitempty"`
	Classes *ClassChange `json:"classification,omitempty"`
	// OnAnswers: the score of Domain is on held-out answers alone. Answers is how often held-out questions were answered rightly.
	OnAnswers bool         `json:"on_answers,omitempty"`
	Answers   *MatchChange `json:"answers,omitempty"`
	// Sources are the named sources apart, such as languages; Domain is all of them together then. Translation is of generated
	// completions without named sources.
	Sources     []SourceChange     `json:"sources,omitempty"`
	Translation *TranslationChange `json:"translation,omitempty"`
	// More is what measures found that have no field above, by name.
	More map[string]LineChange `json:"-"`
}

// ScoreChange is the score of one evaluation set before and after training.
type ScoreChange struct {
	Before *evaluate.Score `json:"before"`
	After  *evaluate.Score `json:"after"`
}

// LineChange is what a measure found before and after training.
type LineChange struct {
	Before []Line `json:"before"`
	After  []Line `json:"after"`
}

// MarshalJSON implements json.Marshaler: what measures added stands beside the fields.
func (c Changes) MarshalJSON() ([]byte, error) {
	type plain Changes
	return beside(plain(c), c.More)
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *Changes) UnmarshalJSON(b []byte) error {
	type plain Changes
	if err := json.Unmarshal(b, (*plain)(c)); err != nil {
		return err
	}
	return others(b, *c, &c.More)
}

// Compare pairs what was measured before and after training; what one of the two lacks is left out.
func Compare(before, after *Results) Changes {
	c := Changes{OnAnswers: before.OnAnswers, Sources: sourceChanges(before, after)}
	if before.Domain != nil {
		c.Domain = &ScoreChange{before.Domain, after.Domain}
	}
	if before.General != nil {
		c.General = &ScoreChange{before.General, after.General}
	}
	if before.Classes != nil {
		c.Classes = &ClassChange{before.Classes, after.Classes}
	}
	if before.Answers != nil && after.Answers != nil {
		c.Answers = &MatchChange{before.Answers, after.Answers}
	}
	if before.Translation != nil && after.Translation != nil {
		c.Translation = &TranslationChange{before.Translation, after.Translation}
	}
	for name, b := range before.More {
		if a, ok := after.More[name]; ok {
			if c.More == nil {
				c.More = map[string]LineChange{}
			}
			c.More[name] = LineChange{b, a}
		}
	}
	return c
}

// sides are the changes taken apart again.
func (c *Changes) sides() (before, after *Results) {
	before, after = &Results{OnAnswers: c.OnAnswers}, &Results{OnAnswers: c.OnAnswers}
	if x := c.Domain; x != nil {
		before.Domain, after.Domain = x.Before, x.After
	}
	if x := c.General; x != nil {
		before.General, after.General = x.Before, x.After
	}
	if x := c.Classes; x != nil {
		before.Classes, after.Classes = x.Before, x.After
	}
	if x := c.Answers; x != nil {
		before.Answers, after.Answers = x.Before, x.After
	}
	if x := c.Translation; x != nil {
		before.Translation, after.Translation = x.Before, x.After
	}
	for _, x := range c.Sources {
		b := SourceScore{Name: x.Name, OnAnswers: x.OnAnswers, Score: x.Before}
		a := SourceScore{Name: x.Name, OnAnswers: x.OnAnswers, Score: x.After}
		if t := x.Translation; t != nil {
			b.Translation, a.Translation = t.Before, t.After
		}
		before.Sources, after.Sources = append(before.Sources, b), append(after.Sources, a)
	}
	before.More, after.More = map[string][]Line{}, map[string][]Line{}
	for name, x := range c.More {
		before.More[name], after.More[name] = x.Before, x.After
	}
	return before, after
}
