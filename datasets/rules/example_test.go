package rules_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/datasets/words"
)

// Rules judge documents one after another, each the text that the one before left.
func Example() {
	chain, err := rules.DecodeChain(`[{"rule": "symbol_lines"}, {"rule": "length", "min_words": 3}]`, rules.Tools{})
	if err != nil {
		log.Fatal(err)
	}
	english, err := words.For("en")
	if err != nil {
		log.Fatal(err)
	}
	for _, text := range []string{"The ferry leaves at seven.\n* * *\nIt comes back at nine.", "No."} {
		rule, v := rules.Chain(chain, &rules.Doc{Text: text, Splitter: english})
		if v.Keep {
			fmt.Printf("kept %q\n", v.Text)
		} else {
			fmt.Printf("%s: %s, %s where %s is wanted\n", rule.Name(), v.Reason, v.Value, v.Threshold)
		}
	}
	// Output:
	// kept "The ferry leaves at seven.\nIt comes back at nine."
	// length: too_few_words, 2 where 3 is wanted
}

// noEcho drops documents that say the same line twice in a row.
type noEcho struct{}

func (noEcho) Name() string   { return "no_echo" }
func (noEcho) Prepare() error { return nil }

func (noEcho) Apply(d *rules.Doc) rules.Verdict {
	last := ""
	for line := range strings.Lines(d.Text) {
		if line == last {
			return rules.Verdict{Reason: "echo", Value: strings.TrimSpace(line)}
		}
		last = line
	}
	return rules.Verdict{Keep: true, Text: d.Text}
}

// A rule of a program's own needs no more than the interface; [rules.Register] makes it a name in recipes, too.
func ExampleRule() {
	for _, text := range []string{"one\ntwo\n", "one\none\n"} {
		_, v := rules.Chain([]rules.Rule{noEcho{}}, &rules.Doc{Text: text})
		fmt.Printf("%v %q %q\n", v.Keep, v.Reason, v.Value)
	}
	// Output:
	// true "" ""
	// false "echo" "one"
}
