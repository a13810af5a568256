package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/inspect"
	"github.com/adaptflow/adaptflow/pipelines/run"
	"github.com/adaptflow/adaptflow/templates/assets"
)

const (
	modelDefault = "embedded:lm-en-5m"
	modelHelp    = "base model: a Hugging Face folder, a GGUF file, embedded:NAME, org/name of the hub, or a folder on an object store " +
		"(s3://, gs://)"
)

func modelFlags(c *cobra.Command, model, adapter *string) {
	c.Flags().StringVar(model, "model", modelDefault, modelHelp)
	c.Flags().StringVar(adapter, "adapter", "", "adapter folder")
}

// ownBase is the base model that an adapter's folder names, where this machine has it; else the one given.
func ownBase(adapter, model string) string {
	if adapter == "" {
		return model
	}
	base, err := peft.BaseOf(adapter)
	if err != nil || base == "" {
		return model
	}
	if _, err := assets.Here(base); err != nil {
		return model
	}
	return base
}

// openModel finds the folder of a model, and says on stderr what a user should know of adapter folders over it: that one names another base
// model, or what is ignored of it.
func openModel(model string, adapters ...string) (dir string, err error) {
	if dir, err = assets.Model(model, say); err != nil {
		return "", err
	}
	for _, a := range adapters {
		for _, s := range infer.Warnings(dir, model, a) {
			say("warning: %s", s)
		}
	}
	return dir, nil
}

func logitsCommand() *cobra.Command {
	var model, input, output string
	var adapters, names []string
	c := &cobra.Command{Use: "logits", Short: "Write the logits of given token ids, to compare with other tools",
		Long: "Logits reads input_ids I64 [B, T] (and attention_mask) from a safetensors file and writes logits F32 [B, T, V].\nWith " +
			"several adapters, --adapter-names names the one that each row uses: a,b,__base__,a+b.",
		Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			if input == "" || output == "" {
				return usage("logits needs --input and --output")
			}
			if len(names) == 0 && len(adapters) > 1 {
				return usage("logits has %d adapters: --adapter-names says which of them each row uses", len(adapters))
			}
			var named []infer.Named
			if len(names) > 0 {
				for i, a := range adapters {
					named = append(named, infer.ParseNamed(a))
					adapters[i] = named[i].Dir
				}
			}
			dir, err := openModel(model, adapters...)
			if err != nil {
				return err
			}
			var m *infer.Model
			if len(names) > 0 {
				m, err = infer.LoadNamed(dir, "", named...)
			} else {
				m, err = infer.Load(dir, "", strings.Join(adapters, ""))
			}
			if err != nil {
				return err
			}
			defer m.Close()
			return m.Logits(input, output, names...)
		}}
	c.Flags().StringVar(&model, "model", modelDefault, modelHelp)
	c.Flags().StringArrayVar(&adapters, "adapter", nil, "adapter folder, or NAME=FOLDER; repeat for more")
	c.Flags().StringSliceVar(&names, "adapter-names", nil,
		"the adapter of each row of the batch, __base__ for none, a+b for a sum; one name is for all rows")
	c.Flags().StringVar(&input, "input", "", "safetensors file with input_ids")
	c.Flags().StringVar(&output, "output", "", "safetensors file to write")
	return c
}

func mergeCommand() *cobra.Command {
	var model, adapter, output, dtype string
	var undo bool
	var weight float64
	c := &cobra.Command{Use: "merge", Short: "Merge an adapter into its base model, or undo a merge", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if adapter == "" || output == "" {
				return usage("merge needs --adapter and --output")
			}
			if undo && weight != 1 {
				return usage("--unmerge takes an adapter out that was merged whole: leave --weight out")
			}
			dir, err := openModel(model, adapter)
			if err != nil {
				return err
			}
			if undo {
				return infer.Unmerge(dir, adapter, output, dtype)
			}
			return infer.Merge(dir, adapter, output, dtype, weight)
		}}
	modelFlags(c, &model, &adapter)
	c.Flags().StringVar(&output, "output", "", "folder to write")
	c.Flags().StringVar(&dtype, "dtype", "", "storage of the merged weights: float32, float16, bfloat16; the base's own when empty")
	c.Flags().Float64Var(&weight, "weight", 1, "share of the adapter's change that is merged; less keeps more of the base (WiSE-FT)")
	c.Flags().BoolVar(&undo, "unmerge", false, "--model is a merged model: write the base that it was made of")
	return c
}

func combineCommand() *cobra.Command {
	var model, output string
	var adapters []string
	var comb peft.Combination
	c := &cobra.Command{Use: "combine", Short: "Combine several LoRA adapters into one, as HF PEFT's add_weighted_adapter does",
		Args: cobra.NoArgs,
		Long: "Combine adds LoRA adapters of one base with weights. linear adds A and B by themselves; cat and svd add the products B·A, " +
			"exactly (the rank\nis the sum) or to a chosen rank; ties, dare_ties, dare_linear and magnitude_prune first leave out " +
			"values, by --density; their _svd forms do so on the products.",
		RunE: func(*cobra.Command, []string) error {
			if len(adapters) == 0 || output == "" {
				return usage("combine needs --adapter, once for each adapter, and --output")
			}
			if len(comb.Weights) == 0 {
				for range adapters {
					comb.Weights = append(comb.Weights, 1)
				}
			}
			if len(comb.Weights) != len(adapters) {
				return usage("%d adapters and %d weights: give one weight an adapter", len(adapters), len(comb.Weights))
			}
			dir, err := openModel(model, adapters...)
			if err != nil {
				return err
			}
			if err := infer.Combine(dir, adapters, comb, output); err != nil {
				return err
			}
			say("wrote %s", output)
			return nil
		}}
	c.Flags().StringVar(&model, "model", modelDefault, modelHelp)
	c.Flags().StringArrayVar(&adapters, "adapter", nil, "adapter folder; repeat for each")
	c.Flags().Float64SliceVar(&comb.Weights, "weights", nil, "weight of each adapter, in their order; may be negative (default 1 each)")
	c.Flags().StringVar(&comb.Type, "combination-type", "svd", strings.Join(peft.CombinationTypes(), ", "))
	c.Flags().IntVar(&comb.SVDRank, "svd-rank", 0, "rank of the result of the svd types; 0 for the largest of the adapters")
	c.Flags().Float64Var(&comb.SVDClamp, "svd-clamp", 0, "quantile to which the values of the svd types are cut; 0 for none")
	c.Flags().Float64Var(&comb.Density, "density", 0, "share of values that ties, dare and magnitude_prune keep")
	c.Flags().StringVar(&comb.MajoritySignMethod, "majority-sign-method", "total", "how ties elects a sign: total or frequency")
	c.Flags().Uint64Var(&comb.Seed, "seed", 42, "seed of dare's choice")
	c.Flags().StringVar(&output, "output", "", "adapter folder to write")
	return c
}

func quantizeCommand() *cobra.Command {
	var model, output, quantType string
	var double bool
	c := &cobra.Command{Use: "quantize", Short: "Write a model as a 4-bit or 8-bit bitsandbytes checkpoint", Args: cobra.NoArgs,
		Long: "Quantize stores the projections of a model's blocks as 4-bit codes with one scale a block of 64 values (QLoRA), or " +
			"as\n8-bit ones with one scale a row (LLM.int8). transformers and adaptflow load the folder; adaptflow also quantises on the " +
			"fly:\n--set model.load_in_4bit=true or model.load_in_8bit=true.",
		RunE: func(*cobra.Command, []string) error {
			if output == "" {
				return usage("quantize needs --output")
			}
			if !slices.Contains(infer.QuantizationTypes, quantType) {
				return usage("quant-type is %q; it must be one of %s", quantType, strings.Join(infer.QuantizationTypes, ", "))
			}
			dir, err := openModel(model)
			if err != nil {
				return err
			}
			return infer.Quantize(dir, output, quantType, double)
		}}
	c.Flags().StringVar(&model, "model", "embedded:lm-en-5m", "model: a Hugging Face folder, the name of one on the hub, or embedded:NAME")
	c.Flags().StringVar(&output, "output", "", "folder to write")
	c.Flags().StringVar(&quantType, "quant-type", "nf4", "code: nf4 or fp4 (4 bits), or int8")
	c.Flags().BoolVar(&double, "double-quant", true, "quantise the scales of 4-bit codes too")
	return c
}

func planCommand() *cobra.Command {
	var f recipeFlags
	var workers []int
	var constants string
	var text volumeFlags
	c := &cobra.Command{Use: "plan TEMPLATE", Short: "Estimate the memory, time and cost of a recipe before anything runs",
		Args: cobra.ExactArgs(1),
		Long: "Plan computes how much memory and time a training takes, and which settings it chose for the model. It takes a few " +
			"steps to measure the time. With --workers it computes what rounds of so many replicas take, each a " +
			"process of its own: time by its\n" +
			"parts, bytes of the files that are sent and read, and memory, from constants that adaptflow bench scaling --calibrate " +
			"measures. Mode, local_steps,\n" +
			"compression and optimizer_shards are the recipe's.\n\n" +
			"With --input-bytes plan computes instead what preparing so much text costs at most: files and objects opened and written, " +
			"requests, bytes, graphs and\n" +
			"the price of S3's requests of each job, and with --workers the share of each worker.",
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("input-bytes") {
				return text.plan(c.Context(), &f, args[0], workers)
			}
			if c.Flags().Changed("workers") {
				return planWorkers(&f, args[0], constants, workers)
			}
			rec, err := f.resolve(args[0])
			if err != nil {
				return err
			}
			p, err := run.MakeTimedPlan(rec)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(p)
			}
			p.Table(os.Stdout)
			return nil
		}}
	f.add(c)
	c.Flags().IntSliceVar(&workers, "workers", nil, "numbers of workers to compute, as 1,8,64,1024; one number beside --input-bytes")
	text.add(c)
	c.Flags().StringVar(&constants, "constants", "",
		"JSON file of bench scaling --calibrate; default: those of the machine that BENCHMARKS.md names")
	return c
}

func planWorkers(f *recipeFlags, template, constants string, workers []int) error {
	rec, err := f.workers(template, workers)
	if err != nil {
		return err
	}
	c, err := run.ReadConstants(constants)
	if err != nil {
		return usageError{err}
	}
	p, err := run.MakeScaling(rec, c, workers)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(p)
	}
	p.Table(os.Stdout)
	return nil
}

func inspectCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: "inspect PATH", Args: cobra.ExactArgs(1),
		Short: "Show what an input file, a shard, an adapter folder, a model (a folder, or embedded:NAME) or a run's folder holds",
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := inspect.Path(args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(v)
			}
			for _, l := range v {
				fmt.Printf("%-28s %v\n", l.Name, l.Value)
			}
			return nil
		}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
