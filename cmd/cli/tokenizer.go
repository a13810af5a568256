package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines/vocabulary"
)

func tokenizerCommand() *cobra.Command {
	c := &cobra.Command{Use: "tokenizer", Short: "Train a vocabulary, or extend a model's for a new language"}
	c.AddCommand(tokenizerTrain(), tokenizerExtend())
	return c
}

func tokenizerTrain() *cobra.Command {
	t := vocabulary.TrainConfig{}
	var asJSON bool
	c := &cobra.Command{Use: "train", Short: "Learn a byte-level BPE vocabulary from a corpus", Args: cobra.NoArgs,
		Long: "Train writes tokenizer.json and tokenizer_config.json with the tokens and merges that Hugging Face tokenizers' BpeTrainer " +
			"learns from the same texts.",
		RunE: func(*cobra.Command, []string) error {
			if len(t.Input) == 0 || t.Output == "" {
				return usage("tokenizer train needs --input and --output")
			}
			if n := 256 + len(t.SpecialTokens); t.VocabSize < n {
				return usage("--vocab-size %d has no room for 256 bytes and the special tokens; give %d or more", t.VocabSize, n)
			}
			r, err := vocabulary.Train(t)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(r)
			}
			fmt.Printf("%s: %d tokens from %d documents, %d different words\n", r.Output, r.VocabSize, r.Documents, r.Words)
			return nil
		}}
	tokenizerFlags(c, &t.Input, &t.TextMode, &t.Output, &asJSON)
	c.Flags().IntVar(&t.VocabSize, "vocab-size", 32000, "tokens, special ones and the 256 bytes included")
	c.Flags().IntVar(&t.MinFrequency, "min-frequency", 2, "how often a pair must occur")
	c.Flags().StringSliceVar(&t.SpecialTokens, "special-tokens", []string{"<|endoftext|>"}, "the first ids; the last one ends a text")
	return c
}

func tokenizerExtend() *cobra.Command {
	e := vocabulary.ExtendConfig{}
	var asJSON bool
	c := &cobra.Command{Use: "extend", Short: "Add tokens of a corpus to a model's vocabulary, with rows in its embedding and head",
		Args: cobra.NoArgs,
		Long: "Extend writes the model with new tokens, each row the mean of the rows of the token's pieces. transformers opens the " +
			"folder. Train the new rows with " +
			"trainable_token_indices, or the whole tables with modules_to_save.",
		RunE: func(*cobra.Command, []string) error {
			if len(e.Input) == 0 || e.Output == "" {
				return usage("tokenizer extend needs --input and --output")
			}
			if e.Add < 1 {
				return usage("--add %d: ask for 1 token or more", e.Add)
			}
			r, err := vocabulary.Extend(e, func(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) })
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(r)
			}
			fmt.Printf("%s: %d new tokens, ids %d to %d; the tables have %d rows\n", r.Output, r.Added, r.FirstID, r.VocabSize-1, r.Rows)
			return nil
		}}
	c.Flags().StringVar(&e.Model, "model", "embedded:lm-en-5m", "model: a Hugging Face folder, embedded:NAME, or org/name of the hub")
	tokenizerFlags(c, &e.Input, &e.TextMode, &e.Output, &asJSON)
	c.Flags().IntVar(&e.Add, "add", 500, "tokens to add at most")
	c.Flags().IntVar(&e.MinFrequency, "min-frequency", 10, "how often a pair must occur")
	return c
}

func tokenizerFlags(c *cobra.Command, input *[]string, mode, output *string, asJSON *bool) {
	c.Flags().StringSliceVar(input, "input", nil, "text, JSONL or Parquet files, or globs")
	c.Flags().StringVar(mode, "text-mode", "line", "what is a document of a text file: line, paragraph, file")
	c.Flags().StringVar(output, "output", "", "folder to write")
	c.Flags().BoolVar(asJSON, "json", false, "machine-readable output")
}
