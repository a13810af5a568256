package perkey

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/peft"
)

// Result is what became of a key; metrics.json of its folder.
type Result struct {
	Key       string    `json:"key"`
	Dir       string    `json:"adapter,omitempty"` // the folder's name; "" where there is none
	Skipped   string    `json:"skipped,omitempty"` // why there is none
	Sequences int       `json:"sequences"`
	Steps     int       `json:"steps"`
	Tokens    int64     `json:"tokens"` // trained on
	Loss      []float64 `json:"loss,omitempty"`
	Warm      bool      `json:"warm_start,omitempty"`
	// EvalTokens are the predicted tokens of the key's held-out sequences, Before and After their mean negative log-likelihood.
	EvalTokens int     `json:"eval_tokens"`
	Before     float64 `json:"eval_nll_before"`
	After      float64 `json:"eval_nll_after"`
	Binding    string  `json:"binding"` // what the adapter's bytes depend on
	SHA256     string  `json:"adapter_sha256,omitempty"`
}

// Broken says what is wrong with a key's folder in the folder out: "" where nothing is, or the key has none.
func (r *Result) Broken(out string) string {
	if r.Dir == "" || !storage.IsLocal(out) {
		return ""
	}
	dir := storage.Join(out, r.Dir)
	for _, name := range []string{MetricsFile, LineageFile, peft.ConfigFile} {
		if _, err := os.Stat(storage.Join(dir, name)); err != nil {
			return "lacks " + name
		}
	}
	switch sum, err := peft.TensorSum(dir); {
	case err != nil:
		return "lacks its weights"
	case r.SHA256 != "" && sum != r.SHA256:
		return "has damaged weights"
	}
	return ""
}

// measured is the result with NaN, in JSON null, for what was not measured.
func (r *Result) measured() Result {
	out := *r
	if out.EvalTokens == 0 {
		out.Before, out.After = math.NaN(), math.NaN()
	}
	return out
}

// Measured is each result as it is written: see metrics.json of a key's folder.
func Measured(results []Result) []Result {
	out := make([]Result, len(results))
	for i := range results {
		out[i] = results[i].measured()
	}
	return out
}

func resultsDir(work string) string { return storage.Join(work, "results") }

// ResultFn writes each result into a folder, and passes it on.
type ResultFn struct{ Dir string }

// ProcessElement writes one result.
func (f *ResultFn) ProcessElement(_ context.Context, raw string) (string, error) {
	var r Result
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return "", err
	}
	name := KeyName(r.Key)
	if r.Skipped == ReasonBadKey { // what is shown for it may be another key
		name = "invalid-" + name
	}
	return raw, storage.WriteFile(storage.Join(f.Dir, name+".json"), []byte(raw+"\n"))
}

// ReadResult reads the result in a key's folder.
func ReadResult(dir string) (*Result, error) { return readResult(storage.Join(dir, MetricsFile)) }

// Results are the results of all keys, trained or not, in a work folder, by key.
func Results(work string) ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(resultsDir(work), "*.json"))
	if !storage.IsLocal(work) {
		files, err = storage.Glob(storage.Join(resultsDir(work), "*.json"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	out := make([]Result, len(files))
	var g errgroup.Group
	g.SetLimit(requests)
	for i, f := range files {
		g.Go(func() error {
			r, err := readResult(f)
			if err == nil {
				out[i] = *r
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Result) int { return cmp.Compare(a.Key, b.Key) })
	return out, nil
}

// ForgetResults removes the results in a work folder at a location.
func ForgetResults(ctx context.Context, work string) error {
	_, err := storage.RemoveTree(ctx, resultsDir(work))
	return err
}

func readResult(path string) (*Result, error) {
	b, err := storage.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}
