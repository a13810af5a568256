package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/adaptflow/adaptflow/internal/childenv"
	"github.com/adaptflow/adaptflow/nn"
)

// inProcess is BenchTrain in a process of its own, so that its peak of memory is this measurement's: self, this program, is started again with env beside what it has.
func (c BenchTrainConfig) inProcess(ctx context.Context, self string, env ...string) (*BenchTrainResult, error) {
	options, err := json.Marshal(c.Options)
	if err != nil {
		return nil, err
	}
	args := []string{"bench", "train", "--json", "--config", c.ConfigPath, "--shards", c.Shards, "--method", c.Method, "--method-options", string(options), "--rank",
		fmt.Sprint(c.Rank), "--dtype", c.DType, "--batch", fmt.Sprint(c.Batch), "--seq", fmt.Sprint(c.Seq), "--steps", fmt.Sprint(c.Steps), "--warmup", fmt.Sprint(c.Warmup),
		"--threads", fmt.Sprint(c.Threads), "--memory-limit", fmt.Sprint(c.MemoryLimit >> 20), "--learning-rate", fmt.Sprint(c.LearningRate),
		fmt.Sprintf("--one-batch=%v", c.OneBatch), fmt.Sprintf("--gradient-checkpointing=%v", c.Checkpoint == nn.CheckpointAll)}
	var stdout, stderr bytes.Buffer
	cmd := childenv.Set{More: env}.Command(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		why := strings.TrimPrefix(lines[len(lines)-1], "adaptflow: ")
		if why == "" { // killed
			why = err.Error()
		}
		return nil, fmt.Errorf("%s", strings.TrimPrefix(why, "error: "))
	}
	var r BenchTrainResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("what bench train printed: %w", err)
	}
	return &r, nil
}
