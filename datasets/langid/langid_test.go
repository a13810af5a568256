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

// TestShortLines: the rule abstains on lines of a few words in a language to keep, and drops those that are surely in none; named
// candidates hold it to them.
func TestShortLines(t *testing.T) {
	for _, settings := range []string{`{"rule": "language", "languages": ["en"]}`,
		`{"rule": "language", "languages": ["en"], "candidates": ["de", "fr", "ru", "ja"]}`} {
		chain, err := rules.DecodeChain("["+settings+"]", rules.Tools{Languages: New})
		if err != nil {
			t.Fatal(err)
		}
		for text, keep := range map[string]bool{
			"Open the file.": true, "How do I reset my password?": true, "Yes, of course.": true, "Thanks!": true, "Error 404": true,
			"The cat sat on the mat.": true, "Restart the server and try again.": true, "12:30": true,
			"Der Hund schläft auf dem Sofa und träumt von Würsten.": false, "Где находится ближайшая станция?": false, "今日はいい天気です。": false,
			"Le chien dort sur le canapé et rêve de saucisses.": false,
		} {
			if _, v := rules.Chain(chain, &rules.Doc{Text: text}); v.Keep != keep {
				t.Errorf("%s: %q: kept %v (%s %s)", settings, text, v.Keep, v.Reason, v.Value)
			}
		}
	}
}
