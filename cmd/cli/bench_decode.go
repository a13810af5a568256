package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/adaptflow/adaptflow/pipelines/bench"
)

func benchDecode() *cobra.Command {
	var b bench.DecodeConfig
	const short = "Generating: texts that are continued side by side over random weights"
	c := measured("decode", short, func(context.Context) (*bench.DecodeResult, error) {
		if b.ConfigPath == "" {
			return nil, usage("bench decode needs --config config.json")
		}
		return bench.Decode(b)
	}, func(r *bench.DecodeResult) {
		fmt.Printf("%.1f tokens/s (%.1f a CPU second) of %d streams, prompts %.0f tokens/s; %.1f MB of weights a step read at %.1f GB/s, "+
			"%.0f%% of the %.1f GB/s that memory gives; peak memory %d MiB, %s, %s, %d threads\n", r.TokensPerSecond, r.TokensPerCPUSecond,
			r.Streams, r.PromptPerSecond, float64(r.WeightBytes)/1e6, r.ReadBytes/1e9, 100*r.ReadBytes/r.Bandwidth, r.Bandwidth/1e9,
			r.PeakRSS>>20, r.DType, r.KernelSet, r.Threads)
	})
	c.Long = "Decode continues random texts greedily, each from a prompt, and measures the steps that add a token to each of " +
		"them, beside how fast this\nmachine reads a block of memory that no cache holds."
	c.Flags().StringVar(&b.ConfigPath, "config", "", "config.json of the shape, for random weights, or a model folder")
	c.Flags().StringVar(&b.DType, "dtype", "fp32",
		"storage of the weights: fp32, bf16 or auto; +nf4, +nf4_dq, +fp4, +fp4_dq, +int8 quantise the projections")
	c.Flags().IntVar(&b.Streams, "streams", 1, "texts at a time")
	c.Flags().IntVar(&b.PromptTokens, "prompt-tokens", 32, "tokens of each prompt")
	c.Flags().IntVar(&b.Tokens, "tokens", 64, "tokens added to each")
	c.Flags().IntVar(&b.Rank, "adapter-rank", 0, "rank of a LoRA adapter on all linear layers; 0 for none")
	c.Flags().IntVar(&b.Runs, "runs", 3, "runs, of which the median counts")
	c.Flags().IntVar(&b.Threads, "threads", 0, "threads; 0 for all")
	return c
}
