// Package vocabulary trains a byte-level BPE vocabulary from a corpus, and extends a model's for a new language. It runs no pipeline: one
// pass over the corpus counts its words.
package vocabulary

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
)

// TrainConfig says what `adaptflow tokenizer train` does: a byte-level BPE vocabulary from a corpus.
type TrainConfig struct {
	Input         []string // text, JSONL or Parquet, plain or compressed
	TextMode      string   // what is a document of a text file
	VocabSize     int
	MinFrequency  int
	SpecialTokens []string // the first ids; the last one is the end of a text
	Output        string   // folder
}

// Result is what a vocabulary came to.
type Result struct {
	Documents int    `json:"documents"`
	Words     int    `json:"words"` // different ones
	VocabSize int    `json:"vocab_size"`
	Added     int    `json:"added"`    // tokens that are new
	FirstID   int    `json:"first_id"` // of the new tokens
	Rows      int    `json:"rows,omitempty"`
	Output    string `json:"output"`
}

// Train writes tokenizer.json and tokenizer_config.json, which transformers' AutoTokenizer opens.
func Train(c TrainConfig) (*Result, error) {
	counts := tokenize.CountWords(tokenize.ByteLevel())
	n, err := countDocuments(c.Input, c.TextMode, counts)
	if err != nil {
		return nil, err
	}
	file, err := tokenize.BPETraining{VocabSize: c.VocabSize, MinFrequency: c.MinFrequency, SpecialTokens: c.SpecialTokens}.Train(counts)
	if err != nil {
		return nil, err
	}
	f, err := tokenize.Parse(file)
	if err != nil {
		return nil, err
	}
	if ok, err := storage.Exists(filepath.Join(c.Output, "tokenizer.json")); err != nil {
		return nil, err
	} else if ok {
		return nil, fmt.Errorf("%w: %s already holds a tokenizer", storage.ErrInUse, c.Output)
	}
	if err := storage.MkdirShared(c.Output); err != nil {
		return nil, err
	}
	config := map[string]any{"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": false}
	if k := len(c.SpecialTokens); k > 0 {
		config["eos_token"] = c.SpecialTokens[k-1]
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := storage.WriteShared(filepath.Join(c.Output, "tokenizer_config.json"), append(raw, '\n')); err != nil {
		return nil, err
	}
	r := &Result{Documents: n, Words: counts.Len(), VocabSize: f.VocabSize(), Added: f.VocabSize(), Output: c.Output}
	return r, storage.WriteShared(filepath.Join(c.Output, "tokenizer.json"), file)
}

func countDocuments(input []string, mode string, counts *tokenize.WordCounts) (n int, err error) {
	files, err := assets.ResolveAll(input)
	if err != nil {
		return 0, err
	}
	return n, datasets.EachText(files, mode, func(text string) error {
		n++
		return counts.Add(text)
	})
}
