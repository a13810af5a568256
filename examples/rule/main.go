// Rule makes shards in a Beam pipeline, with a cleaning rule of its own: go run ./examples/rule MODEL-FOLDER TEXT-FILE OUTPUT-FOLDER
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

func init() {
	rules.Register(rules.Entry{Name: "shouting", New: func() rules.Rule { return &shouting{MaxShare: 0.5} }})
}

// shouting drops documents of which more than a share of the letters are capitals, and takes exclamation marks out of the others.
type shouting struct {
	MaxShare float64 `json:"max_share" yaml:"max_share" help:"capitals that a document may have, of its letters"`
}

func (*shouting) Name() string   { return "shouting" }
func (*shouting) Prepare() error { return nil }
func (r *shouting) Apply(d *rules.Doc) rules.Verdict {
	letters, capitals := 0, 0
	for _, c := range d.Text {
		if unicode.IsLetter(c) {
			letters++
		}
		if unicode.IsUpper(c) {
			capitals++
		}
	}
	if share := float64(capitals) / float64(max(letters, 1)); share > r.MaxShare {
		return rules.Verdict{Reason: "too_loud", Value: fmt.Sprintf("%.2f", share), Threshold: fmt.Sprint(r.MaxShare)}
	}
	return rules.Verdict{Keep: true, Text: strings.ReplaceAll(d.Text, "!", ".")}
}

func main() {
	beam.Init() // a worker's process goes no further, and knows the rule
	out := os.Args[3]
	cfg := prepare.Config{Inputs: []string{os.Args[2]}, Prepare: recipe.Default().Prepare, TokenizerDir: os.Args[1],
		OutDir: filepath.Join(out, "shards"), RejectsDir: filepath.Join(out, "rejects"), StagedDir: filepath.Join(out, ".staged")}
	cfg.Clean = rules.Steps{{"rule": "shouting", "max_share": 0.3}, {"rule": "length", "min_words": 3}}
	result, err := prepare.Execute(context.Background(), cfg, nil) // nil is Prism, in this process
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d documents kept, %d tokens; left out: %v\n", result.Kept, result.Read, result.Tokens, result.Rejected)
}
