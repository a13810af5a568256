// Generate continues a prompt with a base model, and with each adapter of it that is named: the base is in memory once.
//
//	go run ./examples/generate MODEL-FOLDER PROMPT [ADAPTER-FOLDER…]
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
)

func main() {
	base, err := infer.Open(os.Args[1], "bfloat16", os.Args[3:]...)
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	for _, adapter := range append([]string{""}, os.Args[3:]...) {
		model, err := base.With(adapter)
		if err != nil {
			log.Fatal(err)
		}
		answer, err := model.Generate(os.Args[2], evaluate.Sampling{MaxNewTokens: 24, TopP: 1, RepetitionPenalty: 1.1}, nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", adapter, answer.Text)
		model.Close()
	}
}
