package jinja

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// templatesOut are templates that are not compared, and why.
var templatesOut = map[string]string{
	"{{ messages[0].items }}":                                                    "Python's text of a method has its address",
	"{{ {'items': 5}.items }}|{{ {'items': 5}['items'] }}":                       "Python's text of a method has its address",
	"{{ messages|map('upper') }}":                                                "Python's text of a generator has its address",
	"{{ 'a'|attr('upper') }}":                                                    "Python's text of a method has its address",
	"{{ messages|batch(2)|map('length')|list }} {{ [1,2,3]|random is defined }}": "random is left out: the text would not be reproducible",
}

// TestGoldenTemplates renders small templates, one a part of the language, beside transformers: the text, the spans, the kind of error.
func TestGoldenTemplates(t *testing.T) {
	x := golden.JSON[struct {
		Messages json.RawMessage `json:"messages"`
		Cases    []struct {
			Template  string   `json:"template"`
			Expected  *string  `json:"expected"`
			Spans     [][2]int `json:"spans"`
			Error     string   `json:"error"`
			ErrorType string   `json:"error_type"`
		} `json:"cases"`
	}](t, filepath.Join("testdata", "templates.json"))
	messages, err := FromJSON(x.Messages)
	if err != nil {
		t.Fatal(err)
	}
	vars := NewDict()
	for name, v := range map[string]any{"messages": messages, "bos_token": "<s>", "eos_token": "</s>", "tools": nil, "documents": nil,
		"add_generation_prompt": false} {
		vars.Set(name, v)
	}
	now := func() time.Time { return time.Date(2024, 7, 26, 9, 5, 3, 0, time.UTC) }
	good := 0
	var out []string
	for _, c := range x.Cases {
		if why := templatesOut[c.Template]; why != "" {
			out = append(out, c.Template+" ("+why+")")
			continue
		}
		var text string
		var marked []Span
		tm, err := Parse(c.Template)
		if err == nil {
			text, marked, err = tm.Render(vars, Limits{}, now)
		}
		if c.Expected == nil {
			var e *Error
			if !errors.As(err, &e) || e.Kind != c.ErrorType {
				t.Errorf("%q: %q, error %v, want %s: %s", c.Template, text, err, c.ErrorType, c.Error)
				continue
			}
			good++
			continue
		}
		if err != nil {
			t.Errorf("%q: %v, want %q", c.Template, err, *c.Expected)
			continue
		}
		if text != *c.Expected {
			t.Errorf("%q:\n%q, want\n%q", c.Template, text, *c.Expected)
			continue
		}
		spans := [][2]int{}
		for _, s := range marked {
			spans = append(spans, [2]int{s.Start, s.End})
		}
		if !slices.Equal(spans, c.Spans) {
			t.Errorf("%q: spans %v, want %v", c.Template, spans, c.Spans)
			continue
		}
		good++
	}
	t.Logf("templates: %d of %d equal; out of scope: %v", good, len(x.Cases), out)
}
