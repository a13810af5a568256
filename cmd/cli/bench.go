package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/pipelines/bench"
	"github.com/adaptflow/adaptflow/recipe"
)

func benchCommand() *cobra.Command {
	c := &cobra.Command{Use: "bench", Short: "Measure this machine",
		Long: "Bench measures kernels, tokenizing, preparing and training on this machine. Let nothing else run. " +
			"--json gives every figure."}
	c.AddCommand(benchTrain(), benchMemory(), benchMethods(), benchTokenize(), benchPrepare(), benchRounds(), benchKeys(), benchDecode(),
		benchScaling(), benchChild(),
		benchKernels("gemm", "Matrix products of a 135M Llama, float32 and bfloat16 weights", bench.Gemm),
		benchKernels("head", "Head and cross-entropy of a 135M Llama as training runs it, forward and backward", bench.Head),
		benchKernels("attention", "Causal attention of a 135M Llama's layer", bench.Attention),
		benchKernels("elementwise", "Norms, activations and rotary embedding of a 135M Llama's layer", bench.Elementwise))
	return c
}

// program is this one, started again as a child of a measurement: see benchChild.
func program(ctx context.Context, env ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return bench.Started(self, "bench", "child")(ctx, env...)
}

// benchChild is the program as a process of a measurement.
func benchChild() *cobra.Command {
	return &cobra.Command{Use: "child", Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return bench.Child(os.Stdin, os.Stdout)
	}}
}

// measured makes a subcommand that measures and prints, as JSON where asked for.
func measured[R any](use, short string, measure func(ctx context.Context) (R, error), table func(R)) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		r, err := interruptible(c.Context(), measure)
		if err != nil && c.Context().Err() != nil {
			return errMeasuring
		}
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(r)
		}
		table(r)
		return nil
	}}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// errMeasuring is the error of an interrupted measurement, which nothing continues.
var errMeasuring = errors.New("interrupted")

// interruptible gives up waiting for a measurement that does not look at its context, such as one of a kernel, some seconds after an
// interrupt.
func interruptible[R any](ctx context.Context, measure func(ctx context.Context) (R, error)) (r R, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err = measure(ctx)
	}()
	select {
	case <-done:
		return r, err
	case <-ctx.Done():
	}
	select {
	case <-done:
		return r, err
	case <-time.After(5 * time.Second):
		var none R
		return none, ctx.Err()
	}
}

func benchTrain() *cobra.Command {
	b := bench.TrainConfig{Warmup: 2}
	var options string
	var limit int64
	var checkpoint bool
	c := measured("train", "Training speed and memory of a model of random weights", func(context.Context) (*bench.TrainResult, error) {
		if b.ConfigPath == "" {
			return nil, usage("bench train needs --config config.json")
		}
		if options != "" {
			if err := json.Unmarshal([]byte(options), &b.Options); err != nil {
				return nil, usage("--method-options is not a JSON object: %v", err)
			}
		}
		b.MemoryLimit = limit << 20
		if checkpoint {
			b.Checkpoint = nn.CheckpointAll
		}
		return bench.Train(b)
	}, func(r *bench.TrainResult) {
		fmt.Printf("%.1f tokens/s, peak memory %d MiB, loss %.4f, %s, %s, %d threads\n", r.TokensPerSecond, r.PeakRSS>>20, r.Loss, r.DType,
			r.KernelSet, r.Threads)
	})
	c.Flags().StringVar(&b.ConfigPath, "config", "", "config.json of the shape, for random weights, or a model folder")
	c.Flags().StringVar(&b.Shards, "shards", "", "glob of the shards that adaptflow prepare wrote, to train on in place of random "+
		"tokens; --seq is then theirs")
	c.Flags().StringVar(&b.Method, "method", "lora", "adapter method")
	c.Flags().StringVar(&options, "method-options", "",
		"JSON with the method's fields by HF PEFT's names; default: the rank on all linears")
	c.Flags().IntVar(&b.Rank, "rank", 16, "rank of the adapter, on all linears")
	c.Flags().Float64Var(&b.LearningRate, "learning-rate", 1e-4, "learning rate")
	c.Flags().BoolVar(&b.OneBatch, "one-batch", false, "train on the same sequences in every step")
	c.Flags().StringVar(&b.DType, "dtype", "fp32",
		"storage of the weights and of what the backward pass reads: fp32, bf16 or auto; +nf4, +nf4_dq, +fp4, +fp4_dq, +int8 quantise "+
			"the projections; @mapped and @streamed take the weights from a file")
	c.Flags().IntVar(&b.Batch, "batch", 4, "sequences of a step")
	c.Flags().IntVar(&b.Seq, "seq", 512, "tokens of a sequence")
	c.Flags().IntVar(&b.Steps, "steps", 5, "measured steps")
	c.Flags().IntVar(&b.Warmup, "warmup", 2, "steps before")
	c.Flags().IntVar(&b.Threads, "threads", 0, "threads; 0 for all")
	c.Flags().Int64Var(&limit, "memory-limit", 0, "MiB for the whole process; blocks are computed again to hold it; 0 for none")
	c.Flags().BoolVar(&checkpoint, "gradient-checkpointing", false, "compute every block again in the backward pass")
	return c
}

func benchMemory() *cobra.Command {
	b := bench.MemoryConfig{Program: program, Train: bench.TrainConfig{Steps: 2, Warmup: 1}}
	c := measured("memory", "Memory of LoRA and QLoRA against full fine-tuning", func(ctx context.Context) (*bench.MemoryResult, error) {
		if b.Train.ConfigPath == "" {
			return nil, usage("bench memory needs --config config.json")
		}
		return bench.Memory(ctx, b, func(r bench.MemoryRow) { fmt.Fprintf(os.Stderr, "measured: %s\n", r.Name) })
	}, func(r *bench.MemoryResult) {
		fmt.Printf("%-46s %12s %11s %8s %11s %8s\n", "", "trained", "state, MiB", "saved", "peak, MiB", "saved")
		for i, row := range r.Rows {
			state, peak := "", ""
			if i > 0 {
				state, peak = fmt.Sprintf("%.1f %%", 100*row.StateSaved), fmt.Sprintf("%.1f %%", 100*row.PeakSaved)
			}
			fmt.Printf("%-46s %12d %11.1f %8s %11d %8s\n", row.Name, row.Trained, float64(row.State)/(1<<20), state, row.Peak>>20, peak)
		}
	})
	c.Long = "Memory trains a model of random weights for a few steps in each of these ways, each in a process of its own: full " +
		"fine-tuning in float32, LoRA on all linear\n" +
		"layers over a float32 and a bfloat16 base, and QLoRA. State is what training a parameter needs: its value, gradient and the " +
		"optimiser's two moments, all float32;\n" +
		"peak is the high-water mark of the whole process. What is saved is against full fine-tuning, which keeps the base beside the " +
		"weights that it trains."
	c.Flags().StringVar(&b.Train.ConfigPath, "config", "", "config.json of the shape, or a model folder")
	c.Flags().IntVar(&b.Train.Rank, "rank", 16, "rank of the adapters, on all linears")
	c.Flags().IntVar(&b.Train.Batch, "batch", 4, "sequences of a step")
	c.Flags().IntVar(&b.Train.Seq, "seq", 512, "tokens of a sequence")
	c.Flags().IntVar(&b.Train.Steps, "steps", 2, "steps after the first")
	c.Flags().IntVar(&b.Train.Threads, "threads", 0, "threads; 0 for all")
	return c
}

func benchMethods() *cobra.Command {
	b := bench.MethodsConfig{Program: program, Train: bench.TrainConfig{Warmup: 2}}
	line := func(r bench.MethodsRow) string {
		if r.Error != "" {
			return fmt.Sprintf("%-24s %-5s %s", r.Method, r.Base, r.Error)
		}
		return fmt.Sprintf("%-24s %-5s %12d %12.1f %10d %10.4f", r.Method, r.Base, r.Trainable, r.TokensPerSecond, r.PeakRSS>>20, r.Loss)
	}
	head := fmt.Sprintf("%-24s %-5s %12s %12s %10s %10s", "method", "base", "parameters", "tokens/s", "peak MiB", "loss")
	var file string
	c := measured("methods", "Training speed and memory of every adapter method on one shape",
		func(ctx context.Context) (*bench.MethodsResult, error) {
			if b.Train.ConfigPath == "" {
				return nil, usage("bench methods needs --config config.json")
			}
			fmt.Fprintln(os.Stderr, head)
			r, err := bench.Methods(ctx, b, func(r bench.MethodsRow) { fmt.Fprintln(os.Stderr, line(r)) })
			if err == nil && file != "" {
				err = r.Update(file)
			}
			return r, err
		}, func(r *bench.MethodsResult) {
			fmt.Println(head)
			for _, row := range r.Rows {
				fmt.Println(line(row))
			}
		})
	c.Long = "Methods trains every method of the table on random weights of one shape, each in a process of its own: the rank where the " +
		"method has one, all linear\n" +
		"layers where it adapts those, HF PEFT's defaults elsewhere, and the same batch in every step. A method that cannot train the " +
		"shape says why."
	c.Flags().StringVar(&b.Train.ConfigPath, "config", "", "config.json of the shape")
	c.Flags().StringSliceVar(&b.Methods, "methods", nil, "methods by peft_type; default: all")
	c.Flags().IntVar(&b.Train.Rank, "rank", 16, "rank, where the method has one")
	c.Flags().StringVar(&file, "update", "", "JSON file to put the rows into, beside those of other methods")
	c.Flags().StringSliceVar(&b.DTypes, "dtype", []string{"fp32"},
		"storage: fp32, bf16 or auto; +nf4, +nf4_dq, +fp4, +fp4_dq, +int8 quantise the projections; @mapped and @streamed take the "+
			"weights from a file")
	c.Flags().IntVar(&b.Train.Batch, "batch", 4, "sequences of a step")
	c.Flags().IntVar(&b.Train.Seq, "seq", 512, "tokens of a sequence")
	c.Flags().IntVar(&b.Train.Steps, "steps", 5, "measured steps")
	c.Flags().IntVar(&b.Train.Warmup, "warmup", 2, "steps before")
	c.Flags().IntVar(&b.Train.Threads, "threads", 0, "threads; 0 for all")
	c.Flags().Float64Var(&b.Train.LearningRate, "learning-rate", 1e-3, "learning rate")
	return c
}

func benchRounds() *cobra.Command {
	b := bench.RoundsConfig{}
	c := measured("rounds", "What a round of several replicas takes beside computing, on Prism",
		func(ctx context.Context) (*bench.RoundsResult, error) {
			return bench.Rounds(ctx, b)
		}, func(r *bench.RoundsResult) {
			fmt.Printf("%d rounds of %d parameters (%.1f MB)\n", r.Rounds, r.Trainable, float64(r.Trainable)*4/1e6)
			fmt.Printf("a round %.1f ms, of it overhead %.1f ms (nine of ten below %.1f ms); %d waits for the disk, %.2f with those of "+
				"checkpoints\n", 1e3*r.RoundSeconds, 1e3*r.OverheadSeconds,
				1e3*r.Overhead90, r.SyncsRound, r.SyncsMean)
			mib := func(n int64) float64 { return float64(n) / (1 << 20) }
			fmt.Printf("resident memory after the first round %.1f MiB, after half %.1f, after the last %.1f; Go heap %.1f and %.1f MiB; "+
				"goroutines %d and %d\n",
				mib(r.ResidentFirst), mib(r.ResidentMiddle), mib(r.ResidentLast), mib(r.HeapFirst), mib(r.HeapLast),
				r.GoroutinesFirst, r.GoroutinesLast)
		})
	c.Long = "Rounds trains the embedded English model on the Linux manual in rounds, and takes the median of what a round takes beside " +
		"gradients and optimiser steps."
	c.Flags().IntVar(&b.Rounds, "rounds", 200, "rounds")
	c.Flags().IntVar(&b.Replicas, "replicas", 2, "replicas")
	c.Flags().StringVar(&b.Mode, "mode", "sync", "sync, or local with one step a round")
	c.Flags().StringVar(&b.Compression, "compression", "", "none, int8 or topk")
	c.Flags().IntVar(&b.OptimizerShards, "optimizer-shards", 1, "shards of the optimiser's state")
	c.Flags().IntVar(&b.SaveSteps, "save-steps", 20, "rounds between checkpoints, which are those of a job")
	c.Flags().IntVar(&b.Rank, "rank", 9, "rank of LoRA, on all linear layers")
	c.Flags().IntVar(&b.SequenceLength, "seq", 128, "tokens of a sequence, one a replica and round")
	return c
}

func benchKeys() *cobra.Command {
	b := bench.KeysConfig{}
	line := func(r bench.KeysRow) string {
		return fmt.Sprintf("%7d %6d %12.0f %12.0f %8.2f %14.0f %14.0f %8.2f %10.1e", r.Tokens, r.Keys, r.Group, r.Alone, r.Ratio,
			r.GroupCPU, r.AloneCPU, r.RatioCPU, r.Difference)
	}
	head := fmt.Sprintf("%7s %6s %12s %12s %8s %14s %14s %8s %10s", "tokens", "keys", "group, t/s", "alone, t/s", "ratio", "group, t/CPU s",
		"alone, t/CPU s", "ratio", "loss diff")
	c := measured("keys", "Adapters by key in groups, beside one key after another", func(ctx context.Context) (*bench.KeysResult, error) {
		fmt.Fprintln(os.Stderr, head)
		return bench.Keys(ctx, b, func(r bench.KeysRow) { fmt.Fprintln(os.Stderr, line(r)) })
	}, func(r *bench.KeysResult) {
		fmt.Printf("%s, %s, %d threads, %d parameters a key\n%s\n", r.DType, r.KernelSet, r.Threads, r.Trainable, head)
		for _, row := range r.Rows {
			fmt.Println(line(row))
		}
	})
	c.Long = "Keys trains the same keys in a group that shares each pass over the base, and one after another with the model loaded " +
		"once, in turn. Tokens are those of a key and step."
	c.Flags().StringVar(&b.ConfigPath, "config", "", "config.json of a shape, with random weights; default: the embedded English model")
	c.Flags().StringVar(&b.DType, "dtype", "fp32",
		"storage: fp32, bf16 or auto; +nf4, +nf4_dq, +fp4, +fp4_dq, +int8 quantise the projections; @mapped and @streamed take the "+
			"weights from a file")
	c.Flags().IntSliceVar(&b.Tokens, "tokens", []int{8, 16, 32, 64, 512}, "tokens of a key and step")
	keys := recipe.Default().Keys
	c.Flags().IntVar(&b.GroupTokens, "group-tokens", keys.GroupTokens, "tokens of a pass over the base, at most")
	c.Flags().IntVar(&b.GroupKeys, "group-keys", keys.GroupKeys, "keys of a group, at most")
	c.Flags().IntVar(&b.Rank, "rank", 4, "rank of LoRA")
	c.Flags().StringSliceVar(&b.Targets, "target-modules", []string{"q_proj", "v_proj"}, "modules that are adapted")
	c.Flags().IntVar(&b.Steps, "steps", 5, "steps of a key")
	c.Flags().IntVar(&b.Repeat, "repeat", 3, "measurements of either side, in turn")
	c.Flags().IntVar(&b.Threads, "threads", 0, "threads; 0 for all")
	return c
}

func benchTokenize() *cobra.Command {
	b := bench.TokenizeConfig{}
	c := measured("tokenize", "Encoding text", func(context.Context) (*bench.TokenizeResult, error) {
		return bench.Tokenize(b)
	}, func(r *bench.TokenizeResult) {
		fmt.Printf("%.1f MB/s, %.2f M tokens/s; %d documents, %.1f MB, %d tokens; %s engine, offsets %v\n", r.MBPerSecond,
			r.TokensPerSecond/1e6, r.Documents,
			float64(r.Bytes)/1e6, r.Tokens, r.Engine, r.Offsets)
	})
	c.Flags().StringVar(&b.Tokenizer, "tokenizer", "embedded:lm-en-5m", "folder with tokenizer.json, or embedded:NAME")
	c.Flags().StringVar(&b.Engine, "engine", "exact", "exact or sugarme")
	c.Flags().StringSliceVar(&b.Input, "input", []string{"embedded:linux_man_en/train.jsonl"}, "text, JSONL or Parquet files, or globs")
	c.Flags().StringVar(&b.TextMode, "text-mode", "line", "what is a document of a text file: line, paragraph, file")
	c.Flags().BoolVar(&b.Offsets, "offsets", false, "offsets too")
	c.Flags().IntVar(&b.Repeat, "repeat", 3, "passes over the text")
	c.Flags().IntVar(&b.Threads, "threads", 1, "documents encoded at once")
	return c
}

func benchPrepare() *cobra.Command {
	b := bench.PrepareConfig{}
	c := measured("prepare", "Raw files to packed Parquet shards", func(ctx context.Context) (*bench.PrepareResult, error) {
		return bench.Prepare(ctx, b)
	}, func(r *bench.PrepareResult) {
		fmt.Printf("%.0f documents/s, %.2f MB/s, %.2f M tokens/s, peak memory %d MiB; %d documents, %d rejected, %d tokens, %.1f %% "+
			"filled\n", r.DocumentsPerSecond,
			r.MBPerSecond, r.TokensPerSecond/1e6, r.PeakRSS>>20, r.Documents, r.Rejected, r.Tokens, 100*r.FillRate)
	})
	c.Flags().StringVar(&b.Tokenizer, "tokenizer", "embedded:lm-en-5m", "folder with tokenizer.json, or embedded:NAME")
	c.Flags().StringSliceVar(&b.Input, "input", []string{"embedded:linux_man_en/train.jsonl"}, "text, JSONL or Parquet files, or globs")
	c.Flags().StringVar(&b.TextMode, "text-mode", "line", "what is a document of a text file: line, paragraph, file")
	c.Flags().IntVar(&b.SequenceLength, "sequence-length", 512, "tokens of a packed sequence")
	c.Flags().StringVar(&b.Packing, "packing", "best_fit", "best_fit, bfd_split, bfd, wrapped or none")
	c.Flags().StringSliceVar(&b.Clean, "clean", nil, "cleaning rules in order; c4_fineweb is c4 without its test of terminal marks")
	c.Flags().StringSliceVar(&b.Dedupe, "dedupe", nil, "steps of deduplication in order")
	c.Flags().StringVar(&b.Until, "until", "", "end after clean or dedupe, without shards")
	c.Flags().StringVar(&b.Runner, "runner", "prism", "Beam runner")
	return c
}

func benchKernels(use, short string, measure func(bench.KernelsConfig) (*bench.KernelsResult, error)) *cobra.Command {
	b := bench.KernelsConfig{}
	c := measured(use, short, func(context.Context) (*bench.KernelsResult, error) { return measure(b) }, func(r *bench.KernelsResult) {
		fmt.Printf("%s, %d threads\n", r.KernelSet, r.Threads)
		for _, k := range []string{"float32", "bfloat16"} {
			if p := r.Peak[k]; p > 0 {
				fmt.Printf("%-28s %-9s %10.1f GFLOP/s\n", "peak", k, p)
			}
		}
		for _, k := range r.Cases {
			line := fmt.Sprintf("%-28s %-9s %10.3f ms", k.Name, k.DType, k.Milliseconds)
			if k.GFLOPS > 0 {
				line += fmt.Sprintf(" %8.1f GFLOP/s", k.GFLOPS)
			}
			if k.ShareOfPeak > 0 {
				line += fmt.Sprintf(" %5.1f %% of peak", 100*k.ShareOfPeak)
			}
			fmt.Println(line)
		}
	})
	c.Flags().IntVar(&b.Tokens, "tokens", 2048, "tokens of a batch")
	c.Flags().IntVar(&b.Seq, "seq", 512, "tokens of a document")
	c.Flags().IntVar(&b.Threads, "threads", 0, "threads; 0 for all")
	c.Flags().DurationVar(&b.Time, "time", 300*time.Millisecond, "time a case, at least")
	return c
}
