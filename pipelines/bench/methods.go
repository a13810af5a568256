package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
)

// MethodsConfig says what `adaptflow bench methods` measures: Train for each method of the table, in a process of its own.
type MethodsConfig struct {
	Program Program     // starts each measurement's process
	Train   TrainConfig // Method, Options and DType are each row's
	Methods []string    // peft_types; none means all
	DTypes  []string    // of the base, as TrainConfig.DType has them
	cache   string      // folder of the base's weights, which are drawn once and then mapped
}

// MethodsResult has a row for each method and dtype, in the table's order.
type MethodsResult struct {
	Config string       `json:"config"` // the shape's config.json
	Batch  int          `json:"batch"`  // sequences of a step
	Seq    int          `json:"seq"`    // tokens of a sequence
	Rank   int          `json:"rank"`   // where a method has one
	Rows   []MethodsRow `json:"methods"`
}

// MethodsRow is one method's measurement, or why it cannot train the shape.
type MethodsRow struct {
	Method  string         `json:"method"`
	Base    string         `json:"base"` // the dtype that was asked for: fp32, bf16, …
	Options map[string]any `json:"options"`
	*TrainResult
	Error string `json:"error,omitempty"`
}

// Methods measures each method in a process of its own, so that every peak of memory is one method's. done is called after each.
func Methods(ctx context.Context, c MethodsConfig, done func(MethodsRow)) (*MethodsResult, error) {
	out := &MethodsResult{Config: filepath.Base(c.Train.ConfigPath), Batch: c.Train.Batch, Seq: c.Train.Seq, Rank: c.Train.Rank}
	for _, m := range c.Methods {
		if !slices.ContainsFunc(peft.Methods, func(r peft.Row) bool { return strings.EqualFold(r.Type, m) }) {
			return nil, fmt.Errorf("no method %q; adaptflow has %s", m, strings.Join(methodTypes(), ", "))
		}
	}
	cache, err := os.MkdirTemp("", "adaptflow-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(cache)
	c.cache = cache
	for _, m := range peft.Methods {
		if len(c.Methods) > 0 && !slices.ContainsFunc(c.Methods, func(s string) bool { return strings.EqualFold(s, m.Type) }) {
			continue
		}
		for _, dtype := range c.DTypes {
			row := MethodsRow{Method: m.Type, Base: dtype, Options: m.Comparable(c.Train.Rank)}
			if row.TrainResult, err = c.child(ctx, row); err != nil {
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
	}
	return out, nil
}

// Update writes the rows into the file that an earlier call wrote, if there is one, in the place of those of the same method and dtype.
// Rows of other shapes do not go into one file.
func (r *MethodsResult) Update(path string) error {
	all := *r
	raw, err := storage.ReadSmall(path, storage.KindState)
	switch {
	case err == nil:
		var old MethodsResult
		if err := json.Unmarshal(raw, &old); err != nil {
			return fmt.Errorf("%s is not what bench methods wrote: %w", path, err)
		}
		if old.Config != r.Config || old.Batch != r.Batch || old.Seq != r.Seq || old.Rank != r.Rank {
			return fmt.Errorf("%s has rows of %s, %d x %d, rank %d: measure the same shape, or write another file", path, old.Config,
				old.Batch, old.Seq, old.Rank)
		}
		for _, o := range old.Rows {
			if !slices.ContainsFunc(r.Rows, func(n MethodsRow) bool { return n.Method == o.Method && n.Base == o.Base }) {
				all.Rows = append(all.Rows, o)
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	order := methodTypes()
	all.Rows = slices.Clone(all.Rows)
	slices.SortFunc(all.Rows, func(a, b MethodsRow) int {
		return cmp.Or(slices.Index(order, a.Method)-slices.Index(order, b.Method), strings.Compare(b.Base, a.Base))
	})
	if raw, err = json.MarshalIndent(&all, "", " "); err != nil {
		return err
	}
	return storage.WriteFile(path, append(raw, '\n'))
}

func methodTypes() []string {
	var out []string
	for _, r := range peft.Methods {
		out = append(out, r.Type)
	}
	return out
}

// child measures one method in another process.
func (c *MethodsConfig) child(ctx context.Context, row MethodsRow) (*TrainResult, error) {
	t := c.Train
	t.Method, t.Options, t.DType, t.OneBatch = row.Method, row.Options, row.Base, true
	if runtime.GOOS != "windows" && !strings.Contains(t.DType, "@") {
		t.DType += "@" + quant.Mapped
	}
	r, err := c.Program.train(ctx, t, "ADAPTFLOW_CACHE="+c.cache)
	if err != nil {
		return nil, err
	}
	if !strings.Contains(row.Base, "@") {
		r.DType, _, _ = strings.Cut(r.DType, "@") // where the weights lay is this measurement's own affair
	}
	return r, nil
}
