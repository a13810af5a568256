package pipelines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/peft"
)

// BenchMethodsConfig says what `adaptflow bench methods` measures: BenchTrain for each method of the table, in a process of its own.
type BenchMethodsConfig struct {
	Train   BenchTrainConfig // Method and Options are each row's
	Methods []string         // peft_types; none means all
}

// BenchMethodsResult has a row for each method, in the table's order.
type BenchMethodsResult struct {
	Config string            `json:"config"`
	Rows   []BenchMethodsRow `json:"methods"`
}

// BenchMethodsRow is one method's measurement, or why it cannot train the shape.
type BenchMethodsRow struct {
	Method  string         `json:"method"`
	Options map[string]any `json:"options"`
	*BenchTrainResult
	Error string `json:"error,omitempty"`
}

// benchOptions are the fields in which a method departs from what [MethodOptions] makes of its configuration.
var benchOptions = map[string]map[string]any{
	"BOFT":             {"boft_block_size": 4},
	"C3A":              {"block_size": 64},
	"OFT":              {"r": 0, "oft_block_size": 32},
	"PSOFT":            {"psoft_svd": "lowrank"},
	"ROAD":             {"group_size": 32},
	"VBLORA":           {"num_vectors": 256, "vector_length": 64},
	"TRAINABLE_TOKENS": {"token_indices": []int{5, 6, 7, 8, 9, 10, 11, 12}},
}

// ownTargets are the methods whose place in the model is their own: target_modules stays at its default.
var ownTargets = []string{"BEFT", "BITFIT", "FULL", "IA3", "LN_TUNING", "TRAINABLE_TOKENS"}

// MethodOptions is a configuration of a method to compare it with others on one shape: the rank where it has one, all linear layers where it
// adapts linear layers, sixteen virtual tokens where it has those, HF's defaults elsewhere.
func MethodOptions(method string, rank int) (map[string]any, error) {
	i := slices.IndexFunc(peft.Methods, func(r peft.Row) bool { return strings.EqualFold(r.Type, method) })
	if i < 0 {
		return nil, fmt.Errorf("no method %q", method)
	}
	row := peft.Methods[i]
	raw, err := json.Marshal(row.New().Config())
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	out := map[string]any{}
	set := func(name string, v any) {
		if _, ok := fields[name]; ok {
			out[name] = v
		}
	}
	set("r", rank)
	set("lora_alpha", 2*rank)
	set("num_virtual_tokens", 16)
	if !slices.Contains(ownTargets, row.Type) {
		set("target_modules", "all-linear")
	}
	for k, v := range benchOptions[row.Type] {
		out[k] = v
	}
	return out, nil
}

// BenchMethods measures each method by starting this program again, so that every peak of memory is one method's. done is called after each.
func BenchMethods(ctx context.Context, c BenchMethodsConfig, done func(BenchMethodsRow)) (*BenchMethodsResult, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	out := &BenchMethodsResult{Config: c.Train.ConfigPath}
	for _, m := range c.Methods {
		if !slices.ContainsFunc(peft.Methods, func(r peft.Row) bool { return strings.EqualFold(r.Type, m) }) {
			return nil, fmt.Errorf("no method %q; adaptflow has %s", m, strings.Join(methodTypes(), ", "))
		}
	}
	for _, m := range peft.Methods {
		if len(c.Methods) > 0 && !slices.ContainsFunc(c.Methods, func(s string) bool { return strings.EqualFold(s, m.Type) }) {
			continue
		}
		row := BenchMethodsRow{Method: m.Type}
		if row.Options, err = MethodOptions(m.Type, c.Train.Rank); err != nil {
			return nil, err
		}
		if row.BenchTrainResult, err = c.child(ctx, self, row); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			row.Error = err.Error()
		}
		if done != nil {
			done(row)
		}
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

func methodTypes() []string {
	var out []string
	for _, r := range peft.Methods {
		out = append(out, r.Type)
	}
	return out
}

// child measures one method in another process.
func (c *BenchMethodsConfig) child(ctx context.Context, self string, row BenchMethodsRow) (*BenchTrainResult, error) {
	options, err := json.Marshal(row.Options)
	if err != nil {
		return nil, err
	}
	t := c.Train
	args := []string{"bench", "train", "--json", "--config", t.ConfigPath, "--method", row.Method, "--method-options", string(options), "--dtype", t.DType,
		"--batch", fmt.Sprint(t.Batch), "--seq", fmt.Sprint(t.Seq), "--steps", fmt.Sprint(t.Steps), "--warmup", fmt.Sprint(t.Warmup), "--threads", fmt.Sprint(t.Threads),
		"--learning-rate", fmt.Sprint(t.LearningRate), "--one-batch"}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		return nil, fmt.Errorf("%s", strings.TrimPrefix(lines[len(lines)-1], "error: "))
	}
	var r BenchTrainResult
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		return nil, fmt.Errorf("what bench train printed: %w", err)
	}
	return &r, nil
}
