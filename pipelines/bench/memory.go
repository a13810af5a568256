package bench

import (
	"context"
	"fmt"
)

// MemoryConfig says what `adaptflow bench memory` measures: LoRA and QLoRA against full fine-tuning of one shape.
type MemoryConfig struct {
	Program Program     // starts each way's process
	Train   TrainConfig // Method, Options and DType are each row's
	Rows    []MemoryRun // nil means MemoryRows
}

// MemoryRun is a way of training: a method over a base of a dtype, as TrainConfig has them.
type MemoryRun struct{ Name, Method, DType string }

// MemoryRows are what is compared; the first is what the others are held against.
var MemoryRows = []MemoryRun{
	{"full fine-tuning, float32", "FULL", "fp32"},
	{"LoRA, float32", "LORA", "fp32"},
	{"LoRA, bfloat16", "LORA", "bf16"},
	{"QLoRA, NF4 with double quantisation, bfloat16", "LORA", "bf16+nf4_dq"},
}

// MemoryResult has a row for each way of training.
type MemoryResult struct {
	Batch int         `json:"batch"` // sequences of a step
	Seq   int         `json:"seq"`   // tokens of a sequence
	Rank  int         `json:"rank"`
	Rows  []MemoryRow `json:"rows"`
}

// MemoryRow is one way's memory. What is saved is a share of the first row's, and negative where more is used.
type MemoryRow struct {
	Name       string  `json:"name"`
	Trained    int     `json:"trained_parameters"`
	State      int64   `json:"trainable_state_bytes"` // of trained parameters: their values, gradients and optimiser state
	StateSaved float64 `json:"trainable_state_saved"`
	Peak       int64   `json:"peak_rss_bytes"` // of the whole process from its start
	PeakSaved  float64 `json:"peak_saved"`
	Planned    int64   `json:"planned_bytes"` // of the whole process, before the first step
}

// Memory measures each way in a process of its own. done is called after each.
func Memory(ctx context.Context, c MemoryConfig, done func(MemoryRow)) (*MemoryResult, error) {
	if c.Rows == nil {
		c.Rows = MemoryRows
	}
	out := &MemoryResult{Batch: c.Train.Batch, Seq: c.Train.Seq, Rank: c.Train.Rank}
	for _, run := range c.Rows {
		options := map[string]any{}
		if run.Method == "LORA" {
			options = map[string]any{"r": c.Train.Rank, "lora_alpha": 2 * c.Train.Rank, "target_modules": "all-linear"}
		}
		t := c.Train
		t.Method, t.Options, t.DType = run.Method, options, run.DType
		r, err := c.Program.train(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", run.Name, err)
		}
		row := MemoryRow{Name: run.Name, Trained: r.Trainable, State: r.State, Peak: r.PeakRSS, Planned: r.Planned}
		if len(out.Rows) > 0 {
			row.StateSaved = saved(row.State, out.Rows[0].State)
			row.PeakSaved = saved(row.Peak, out.Rows[0].Peak)
		}
		if done != nil {
			done(row)
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

func saved(n, of int64) float64 { return 1 - float64(n)/float64(of) }
