package rules

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/internal/golden"
)

// fields cuts text into words at white space; it has no sentences.
type fields struct{}

func (fields) Words(text string) []string   { return strings.Fields(text) }
func (fields) Sentences(text string) []Span { return []Span{{0, len(text)}} }

// TestCases: with a recipe's settings, a rule decides on each document of testdata/cases as the case says.
func TestCases(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "cases", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
			for _, c := range golden.JSON[[]struct {
				Settings  map[string]any
				Documents []struct {
					Text, Reason, Value, Threshold string
					Becomes                        *string // the text that it goes on with; none for the same
				}
			}](t, f) {
				raw, err := json.Marshal([]any{c.Settings})
				if err != nil {
					t.Fatal(err)
				}
				chain, err := DecodeChain(string(raw), Tools{})
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range c.Documents {
					_, v := Chain(chain, &Doc{Text: d.Text, Splitter: fields{}})
					want := Verdict{Reason: d.Reason, Value: d.Value, Threshold: d.Threshold}
					if d.Reason == "" {
						want.Keep, want.Text = true, d.Text
					}
					if d.Becomes != nil {
						want.Text = *d.Becomes
					}
					if v.Counters = nil; !reflect.DeepEqual(v, want) {
						t.Errorf("%v of %q: %+v, want %+v", c.Settings, d.Text, v, want)
					}
				}
			}
		})
	}
}
