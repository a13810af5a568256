package bench

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// PrepareConfig says what `adaptflow bench prepare` measures: raw files to packed Parquet shards.
type PrepareConfig struct {
	Tokenizer      string // folder of the model, or embedded:NAME
	Input          []string
	TextMode       string
	SequenceLength int
	Packing        string
	Runner         string
	Clean, Dedupe  []string // names of rules and steps
	Until          string   // "clean", "dedupe", or "" for all
}

// PrepareResult is what was measured, from the first byte read to the manifest.
type PrepareResult struct {
	Documents          int64   `json:"documents"`
	Kept               int64   `json:"kept"`
	Rejected           int64   `json:"rejected"`
	Bytes              int64   `json:"bytes"` // of the input files as they are
	Tokens             int64   `json:"tokens"`
	Seconds            float64 `json:"seconds"`
	DocumentsPerSecond float64 `json:"documents_per_second"`
	MBPerSecond        float64 `json:"mb_per_second"`
	TokensPerSecond    float64 `json:"tokens_per_second"`
	FillRate           float64 `json:"fill_rate"`
	PeakRSS            int64   `json:"peak_rss_bytes"`
}

// Prepare prepares the input into a temporary folder and removes it.
func Prepare(ctx context.Context, c PrepareConfig) (*PrepareResult, error) {
	dir, err := assets.Resolve(c.Tokenizer)
	if err != nil {
		return nil, err
	}
	files, err := assets.ResolveAll(c.Input)
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "adaptflow-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	r := &PrepareResult{}
	start := time.Now()
	var steps [2][]map[string]any
	for i, names := range [][]string{c.Clean, c.Dedupe} {
		for _, n := range names {
			m := map[string]any{"rule": n}
			if n == "c4_fineweb" { // FineWeb's variant of C4
				m = map[string]any{"rule": "c4", "filter_no_terminal_punct": false}
			}
			steps[i] = append(steps[i], m)
		}
	}
	res, err := prepare.Execute(ctx, prepare.Config{Inputs: files, Until: c.Until, TokenizerDir: dir,
		Options: datasets.Options{TextMode: c.TextMode}, Shares: recipe.Shares{MaxBadFraction: 1},
		Prepare: recipe.Prepare{PackOptions: datasets.PackOptions{SequenceLength: c.SequenceLength, Strategy: c.Packing,
			IsolateDocuments: true},
			Clean: steps[0], Dedupe: steps[1], Ends: tokenize.Ends{BOS: tokenize.No, EOS: tokenize.Yes}},
		OutDir: filepath.Join(tmp, "shards"), RejectsDir: filepath.Join(tmp, "rejects"),
		StagedDir: filepath.Join(tmp, "staged"), Version: version.Version}, func(ctx context.Context, p *beam.Pipeline, job string) error {
		return runners.Runner{Name: c.Runner}.Run(ctx, p, job)
	})
	if err != nil {
		return nil, err
	}
	r.Seconds = time.Since(start).Seconds()
	sources, err := datasets.FindSources(files)
	if err != nil {
		return nil, err
	}
	for _, f := range sources {
		st, err := os.Stat(f.Path)
		if err != nil {
			return nil, err
		}
		r.Bytes += st.Size()
	}
	r.Kept = res.Kept
	r.Documents, r.Rejected, r.Tokens, r.FillRate = res.Read, res.Bad(), res.Tokens, res.FillRate
	r.DocumentsPerSecond, r.MBPerSecond, r.TokensPerSecond = float64(r.Documents)/r.Seconds, float64(r.Bytes)/1e6/r.Seconds,
		float64(r.Tokens)/r.Seconds
	r.PeakRSS, err = mem.Peak()
	return r, err
}
