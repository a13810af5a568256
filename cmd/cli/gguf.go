package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/inspect"
)

func ggufCommand() *cobra.Command {
	c := &cobra.Command{Use: "gguf", Short: "Write a model or an adapter as a GGUF file, for llama.cpp and Ollama"}
	c.AddCommand(ggufModelCommand(), ggufLoraCommand())
	return c
}

func ggufModelCommand() *cobra.Command {
	var model, adapter, output, quant, evaluate string
	var asJSON bool
	c := &cobra.Command{Use: "model", Short: "Write a model, with an adapter merged into it, as a GGUF file", Args: cobra.NoArgs,
		Long: "Model writes the weights in " + strings.Join(export.GGUFQuants(), ", ") + ", mixed as llama.cpp's llama-quantize " +
			"mixes them,\nwith the tokenizer, the chat templates and the tokens that end an answer. It refuses a model that llama.cpp " +
			"cannot run, or whose tokenizer\nit does not have.",
		RunE: func(*cobra.Command, []string) error {
			if output == "" {
				return usage("gguf model needs --output, the file to write")
			}
			dir, err := openModel(model, adapters(adapter)...)
			if err != nil {
				return err
			}
			if err := storage.CheckTarget(output); err != nil {
				return err
			}
			var texts []string
			if evaluate != "" {
				if texts, err = inspect.Texts(evaluate, 64); err != nil {
					return err
				}
			}
			r, err := export.GGUFModel(dir, adapter, quant, output)
			if err != nil {
				return err
			}
			if evaluate != "" {
				if r.Perplexity, err = export.MeasureGGUF(dir, adapter, output, export.Texts(texts...)); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(r)
			}
			say("%s: %s, %s, %.1f MB", r.File, r.Architecture, r.Quant, float64(r.Bytes)/1e6)
			for _, t := range r.Types {
				say("  %-5s %5d tensors, %d values", t.Type, t.Tensors, t.Values)
			}
			if r.Fallbacks > 0 {
				say("  rows of %d matrices are not whole blocks of %s's types: they have the next type that fits, which takes more room",
					r.Fallbacks, r.Quant)
			}
			if p := r.Perplexity; p != nil {
				say("  perplexity of %d tokens of %s: %.3f, of the model itself %.3f", p.Tokens, evaluate, p.File, p.Model)
			}
			return nil
		}}
	modelFlags(c, &model, &adapter)
	c.Flags().StringVar(&output, "output", "", "file to write")
	c.Flags().StringVar(&evaluate, "evaluate", "",
		"file of texts (JSONL, text, Parquet): the perplexity of what is written is measured by the first 64, beside the model's own")
	c.Flags().StringVar(&quant, "quant", "Q8_0", "storage of the weights: "+strings.Join(export.GGUFQuants(), ", "))
	c.Flags().BoolVar(&asJSON, "json", false, "print what was written as JSON")
	return c
}

func ggufLoraCommand() *cobra.Command {
	var model, adapter, output string
	var maxRank int
	var asJSON bool
	c := &cobra.Command{Use: "lora", Short: "Write an adapter as a GGUF file that loads over the base model's", Args: cobra.NoArgs,
		Long: "Lora writes LoRA exactly, with its patterns of ranks and scales. Of other methods it writes the update of each weight as " +
			"a product of two\nmatrices where one exists, or with --max-rank the nearest product of that rank, and prints how much " +
			"of the update is lost.",
		RunE: func(*cobra.Command, []string) error {
			if adapter == "" || output == "" {
				return usage("gguf lora needs --adapter and --output, the file to write")
			}
			dir, err := openModel(model, adapter)
			if err != nil {
				return err
			}
			if err := storage.CheckTarget(output); err != nil {
				return err
			}
			r, err := export.GGUFLora(dir, adapter, maxRank, output)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(r)
			}
			lost := "nothing is lost"
			if r.Lost > 1e-4 {
				lost = fmt.Sprintf("up to %.2g of an update's norm is lost (%s)", r.Lost, r.Worst)
			}
			say("%s: %s, %d modules, rank %d, %.1f MB; %s", r.File, r.Architecture, r.Modules, r.Rank, float64(r.Bytes)/1e6, lost)
			return nil
		}}
	modelFlags(c, &model, &adapter)
	c.Flags().StringVar(&output, "output", "", "file to write")
	c.Flags().IntVar(&maxRank, "max-rank", 0, "largest rank of an update that is not a product; 0 for what loses nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print what was written as JSON")
	return c
}

// adapters is the list of an adapter that may be none.
func adapters(folder string) []string {
	if folder == "" {
		return nil
	}
	return []string{folder}
}
