package cli

import (
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/tokenize"
)

func generateCommand() *cobra.Command {
	var model, adapter, prompts, output, bos, dtype, cache string
	var samples int
	var o printing
	s := evaluate.Sampling{}
	c := &cobra.Command{Use: "generate", Short: "Continue a prompt, or write samples to a file", Args: cobra.NoArgs,
		Long: `Generate continues a prompt and prints it; a prompt of - is read from stdin, as is a missing one when stdin is a pipe. With
--chat the prompt is a user's turn, and only the answer is printed. With --output it writes continuations as JSONL, {"text": …} a line: --samples of the prompt, or of each
prompt of the file --prompts (a prompt a line; the field "prompt" of .jsonl). Such samples of the base, among the text that it is adapted to, keep
what it knows of other text (pseudo-rehearsal). Settings that are not given come from the model's generation_config.json:

  adaptflow generate --prompts openings.jsonl --samples 100 --temperature 1 --max-new-tokens 250 --output rehearsal.jsonl`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(prompts, output, samples); err != nil {
				return err
			}
			if prompts == "" {
				if err := o.read(os.Stdin); err != nil {
					return err
				}
			}
			s.DoSample = s.Temperature > 0
			if err := s.Validate(); err != nil {
				return usageError{err}
			}
			if err := (tokenize.Ends{BOS: bos}).Validate(); err != nil {
				return usageError{err}
			}
			if err := infer.CheckStorage(dtype); err != nil {
				return usage("--dtype: %v", err)
			}
			cached, err := infer.ParseCacheDType(cache)
			if err != nil {
				return usage("--cache-dtype: %v", err)
			}
			list := []string{o.prompt}
			if prompts != "" {
				var err error
				if list, err = infer.ReadPrompts(prompts); err != nil {
					return err
				}
			}
			if !c.Flags().Changed("model") {
				model = ownBase(adapter, model)
			}
			dir, err := openModel(model, adapter)
			if err != nil {
				return err
			}
			m, err := infer.Load(dir, dtype, adapter)
			if err != nil {
				return err
			}
			defer m.Close()
			m.Ends.BOS, m.CacheDType = bos, cached
			var unused []string
			if s, unused, err = m.Sampling(s, func(name string) bool {
				f := c.Flags().Lookup(strings.ReplaceAll(name, "_", "-"))
				return f != nil && f.Changed
			}); err != nil {
				return err
			}
			for _, name := range unused {
				say("warning: the model's %s asks for %s, which adaptflow does not do", evaluate.GenerationFile, name)
			}
			if samples > 1 && !s.DoSample {
				return usage("--samples of the likeliest tokens are all the same: set --temperature")
			}
			if output != "" {
				empty, err := m.Samples(c.Context(), list, samples, s, output, samplesBar())
				if err != nil {
					return err
				}
				say("wrote %d samples to %s", len(list)*samples, output)
				if empty != "" {
					say("warning: %s", empty)
				}
				return nil
			}
			return o.run(m, s)
		}}
	modelFlags(c, &model, &adapter)
	o.flags(c)
	c.Flags().StringVar(&prompts, "prompts", "", "file of prompts to continue")
	c.Flags().StringVar(&bos, "add-bos", "auto",
		"whether a prompt begins with bos_token: auto as the tokenizer does it, true, false; as prepare.add_bos of the adapter's recipe")
	c.Flags().StringVar(&cache, "cache-dtype", "float32",
		"storage of keys and values: float32, or bfloat16, half the memory, which rounds them")
	c.Flags().StringVar(&dtype, "dtype", "float32",
		"storage of the weights: float32, bfloat16 (half the memory; products round to it), or auto, the faster here; +nf4, +nf4_dq, "+
			"+fp4, +fp4_dq, +int8 quantise the projections; @mapped takes the weights from a file")
	c.Flags().IntVar(&samples, "samples", 1, "continuations of each prompt")
	c.Flags().StringVar(&output, "output", "", "JSONL file to write in place of printing")
	c.Flags().IntVar(&s.MaxNewTokens, "max-new-tokens", 64, "tokens to add at most")
	c.Flags().Float64Var(&s.Temperature, "temperature", 0, "sampling temperature; 0 takes the likeliest token")
	c.Flags().IntVar(&s.TopK, "top-k", 0, "draw from the k likeliest tokens")
	c.Flags().Float64Var(&s.TopP, "top-p", 1, "draw from the likeliest tokens of this probability in all")
	c.Flags().Float64Var(&s.RepetitionPenalty, "repetition-penalty", 1, "penalty on tokens that have occurred")
	c.Flags().Uint64Var(&s.Seed, "seed", 42, "seed of the draws")
	return c
}

// check says which flags do not go together.
func (o *printing) check(prompts, output string, samples int) error {
	switch {
	case prompts != "" && output == "":
		return usage("--prompts needs --output, the file to write")
	case prompts != "" && o.prompt != "":
		return usage("generate takes --prompt or --prompts, not both")
	case samples > 1 && output == "":
		return usage("--samples needs --output, the file to write")
	case output != "" && (o.chat || o.json || len(o.stops) > 0):
		return usage("--chat, --json and --stop go with what is printed, not with --output")
	case !o.chat && (o.system != "" || o.template != ""):
		return usage("--system and --chat-template go with --chat")
	}
	return nil
}

// samplesBar shows how many samples are finished: a bar on a terminal, a line each tenth elsewhere.
func samplesBar() func(done, of int) {
	if forPeople() {
		var bar *progressbar.ProgressBar
		return func(done, of int) {
			if bar == nil {
				bar = newBar(of)
				bar.Describe("sampling")
			}
			_ = bar.Set(done)
		}
	}
	return func(done, of int) {
		if done*10/of != (done-1)*10/of {
			say("%d of %d samples", done, of)
		}
	}
}
