package infer_test

import (
	"fmt"
	"log"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/templates/assets"
)

// A model continues a prompt; the likeliest tokens are taken.
func Example() {
	dir, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		log.Fatal(err)
	}
	m, err := infer.Load(dir, "float32", "") // the last is an adapter's folder
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	out, err := m.Generate("Once upon a time there was a", evaluate.Sampling{MaxNewTokens: 12, TopP: 1, RepetitionPenalty: 1.2}, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", out.Text)
	// Output: " few minutes before, and the two gentlemen had been in"
}

// A text that is English is likelier than one that is not.
func ExampleModel_Score() {
	dir, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		log.Fatal(err)
	}
	m, err := infer.Load(dir, "", "")
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	s, err := m.Score("The children went to school.", "School the to went children.")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f %.1f\n", s[0].Sum(), s[1].Sum())
	// Output: -24.9 -48.0
}

// One base answers with any number of adapters; its memory goes with the last of them.
func ExampleBase() {
	dir, err := assets.Model("embedded:lm-en-5m", nil)
	if err != nil {
		log.Fatal(err)
	}
	base, err := infer.Open(dir, "bfloat16")
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	m, err := base.With("") // a folder of HF PEFT's
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	v, err := m.Embed(infer.PoolMean, "a text", "another")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(v), "vectors of", len(v[0]), "values")
	// Output: 2 vectors of 256 values
}
