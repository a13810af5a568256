package tokenize_test

import (
	"fmt"
	"log"

	"github.com/adaptflow/adaptflow/tokenize"
)

// A folder of Hugging Face's has its tokenizer in tokenizer.json.
func ExampleLoad() {
	t, err := tokenize.Load("testdata/tokenizer")
	if err != nil {
		log.Fatal(err)
	}
	e, err := t.Encode("The ferry leaves.", false)
	if err != nil {
		log.Fatal(err)
	}
	for i, id := range e.IDs[:4] {
		token, _ := t.IDToToken(id)
		fmt.Println(token, e.Offsets[i])
	}
	fmt.Printf("%q\n", t.Decode(e.IDs, true))
	// Output:
	// Th [0 2]
	// e [2 3]
	// Ġf [3 5]
	// er [5 7]
	// "The ferry leaves."
}

// What stands around a text that is learnt is a setting: here its beginning and its end are marked.
func ExampleEnds() {
	t, err := tokenize.Load("testdata/tokenizer")
	if err != nil {
		log.Fatal(err)
	}
	frame, err := tokenize.Ends{BOS: tokenize.Yes, EOS: tokenize.Yes}.Frame(t)
	if err != nil {
		log.Fatal(err)
	}
	e, err := frame.Text("seven")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q\n", t.Decode(e.IDs, false))
	// Output: "<s>seven</s>"
}

// A vocabulary is learned from texts; the result is the text of a tokenizer.json.
func ExampleBPETraining() {
	words := tokenize.CountWords(tokenize.ByteLevel())
	if err := words.Add("low lower lowest low low"); err != nil {
		log.Fatal(err)
	}
	file, err := tokenize.BPETraining{VocabSize: 260, MinFrequency: 2, SpecialTokens: []string{"<eos>"}}.Train(words)
	if err != nil {
		log.Fatal(err)
	}
	t, err := tokenize.Parse(file)
	if err != nil {
		log.Fatal(err)
	}
	ids, err := t.AppendIDs(nil, " lower", false)
	if err != nil {
		log.Fatal(err)
	}
	for _, id := range ids {
		token, _ := t.IDToToken(id)
		fmt.Printf("%q ", token)
	}
	// Output: "Ġlow" "e" "r"
}
