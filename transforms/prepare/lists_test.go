package prepare

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// graphSize is the size of a pipeline's graph as engines get it.
func graphSize(t *testing.T, p *beam.Pipeline) int {
	t.Helper()
	n, err := jobs.GraphBytes(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestGraphsStaySmall: the graphs of preparing do not grow with the input files, and all of these are read.
func TestGraphsStaySmall(t *testing.T) {
	sizes := map[string][2]int{}
	for i, n := range []int{3, 600} {
		in := t.TempDir()
		for k := range n {
			write(t, filepath.Join(in, fmt.Sprintf("part-%05d-%s.txt", k, strings.Repeat("long-name", 5))), fmt.Sprintf("File %d.\n", k))
		}
		cfg := config(t, byteTokenizer(t), in)
		res, err := Execute(t.Context(), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
			s := sizes[name]
			s[i] = graphSize(t, p)
			sizes[name] = s
			return jobs.Prism(ctx, p, name)
		})
		if err != nil || res.Kept != int64(n) {
			t.Fatalf("%d files: %+v, %v", n, res, err)
		}
		seen := map[string]bool{}
		for _, s := range append(sequences(t, res.Train), sequences(t, res.Validation)...) {
			for _, id := range s.DocIDs {
				seen[id] = true
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d files are in the shards", len(seen), n)
		}
	}
	for name, s := range sizes {
		if s[1] > s[0]+5<<10 || s[1] > 200<<10 {
			t.Errorf("%s: %d bytes for 3 files, %d for 600", name, s[0], s[1])
		}
	}
	d := &driver{cfg: config(t, "", ""), records: t.TempDir()}
	for k := range 100_000 {
		d.files = append(d.files, ingest.File{Ordinal: k, Path: fmt.Sprintf("s3://bucket/corpus/part-%06d.jsonl.zst", k)})
	}
	p, s := beam.NewPipelineWithRoot()
	files, err := d.listFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	ingest.Read(s, &ingest.ReadFn{}, files)
	if n := graphSize(t, p); n > 200<<10 {
		t.Errorf("the graph of reading 100,000 files has %d bytes", n)
	}
}
