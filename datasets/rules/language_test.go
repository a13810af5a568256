package rules

import (
	"strings"
	"testing"
)

// always is an identifier that finds one language.
type always string

func (a always) Identify(string) []LanguageScore { return []LanguageScore{{Code: string(a), Score: 1}} }

// TestLanguageTools: settings are checked without an identifier, and a chain that applies the rule has the one that it is given.
func TestLanguageTools(t *testing.T) {
	for _, c := range []struct {
		settings map[string]any
		want     string
	}{
		{map[string]any{}, "names none"},
		{map[string]any{"languages": []string{"en"}, "language_threshold": 2}, "from 0 to 1"},
		{map[string]any{"languages": []string{"en"}, "candidates": []string{"de", "xx"}}, `"xx" is not among`},
		{map[string]any{"languages": []string{"en"}, "candidates": []string{"en"}}, "at least two"},
		{map[string]any{"languages": []string{"en"}, "candidates": []string{"de"}}, ""},
	} {
		c.settings["rule"] = "language"
		_, err := Decode(c.settings)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, want %q", c.settings, err, c.want)
		}
	}
	const chain = `[{"rule": "language", "languages": ["en"], "candidates": ["de", "fr"]}]`
	if _, err := DecodeChain(chain, Tools{}); err == nil || !strings.Contains(err.Error(), "no language identifier") {
		t.Errorf("without an identifier: %v", err)
	}
	var asked []string
	tools := Tools{Languages: func(candidates []string, _ bool) (Identifier, error) {
		asked = candidates
		return always("de"), nil
	}}
	rules, err := DecodeChain(chain, tools)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(asked, " ") != "de en fr" {
		t.Errorf("an identifier among %v", asked)
	}
	if _, v := Chain(rules, &Doc{Text: strings.Repeat("Guten Tag. ", 20)}); v.Keep || v.Value != "de 1.000" {
		t.Errorf("a German text: %+v", v)
	}
}
