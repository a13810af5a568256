package pack_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// BenchmarkShards packs 4 MB of text, into few shards and into many, either way: MB/s and opens are of packing alone.
func BenchmarkShards(b *testing.B) {
	in := filepath.Join(b.TempDir(), "in.txt")
	var text strings.Builder
	r := rand.New(rand.NewPCG(1, 2))
	for text.Len() < 4<<20 {
		for range 20 + r.IntN(400) {
			fmt.Fprintf(&text, "word%d ", r.IntN(5000))
		}
		text.WriteByte('\n')
	}
	if err := os.WriteFile(in, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	size := float64(text.Len()) / 1e6
	for _, tokens := range []int64{4 << 20, 8 << 10} {
		for way, bytes := range map[string]int64{"direct": 0, "parts": 256 << 20} {
			b.Run(fmt.Sprintf("%s-%d", way, tokens), func(b *testing.B) {
				pack.PartsOf(bytes)
				defer pack.PartsOf(0)
				packing, opens := time.Duration(0), int64(0)
				for b.Loop() {
					took, opened := packOnce(b, in, tokens)
					packing, opens = packing+took, opens+opened
				}
				b.ReportMetric(size*float64(b.N)/packing.Seconds(), "MB/s")
				b.ReportMetric(float64(opens)/float64(b.N), "opens")
			})
		}
	}
}

// packOnce prepares a file and says how long packing it took, and what that opened.
func packOnce(b *testing.B, in string, tokens int64) (packing time.Duration, opens int64) {
	out := b.TempDir()
	cfg := prepare.Config{Inputs: []string{in}, TokenizerDir: filepath.Join("..", "..", "tokenize", "testdata", "tokenizer"),
		Prepare: recipe.Prepare{TokensPerShard: tokens,
			PackOptions: datasets.PackOptions{SequenceLength: 512, Strategy: datasets.PackBFDSplit, IsolateDocuments: true}},
		Shares: recipe.Shares{MaxBadFraction: 1}, Version: "bench",
		OutDir: filepath.Join(out, "shards"), RejectsDir: filepath.Join(out, "rejects"), StagedDir: filepath.Join(out, "staged")}
	if _, err := prepare.Execute(b.Context(), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
		from, before := time.Now(), storage.Opens()
		err := jobs.Prism(ctx, p, name)
		if name == "adaptflow-pack" {
			packing, opens = time.Since(from), storage.Opens()-before
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	return packing, opens
}
