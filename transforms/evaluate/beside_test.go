package evaluate

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"google.golang.org/protobuf/proto"

	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/templates/assets"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// TestTheGraphStaysSmall: the graph of an evaluation does not grow with the files of named sources nor with the shards, all of which are
// measured, and nothing is left of what lay beside the output.
func TestTheGraphStaysSmall(t *testing.T) {
	base, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	was := measure.Measures
	defer func() { measure.Measures = was }()
	measure.Measures = []*measure.Measure{{Name: "own",
		When: func(*measure.Input) bool { return true },
		Parts: func(in *measure.Input) ([]measure.Part, error) {
			return make([]measure.Part, len(in.Domain.Shards)), nil
		},
		Part: func(_ context.Context, in *measure.Input, p measure.Part) (any, error) {
			return in.Domain.Shards[p.Number], nil
		},
		Run: func(ctx context.Context, in *measure.Input, out *measure.Results) error {
			pieces, err := in.Pieces(ctx)
			for i, p := range pieces {
				if want, _ := json.Marshal(in.Domain.Shards[i]); string(p.Found) != string(want) {
					t.Errorf("piece %d is of %s", i, p.Found)
				}
			}
			out.Add(in.Row, measure.Line{Numbers: measure.Numbers{"n": float64(len(pieces)), "files": float64(len(in.Origins))}})
			return err
		},
		Columns: []measure.Column{{Name: "n"}, {Name: "files"}},
	}}
	for _, n := range []int{1, 3000} {
		dir := t.TempDir()
		job := Job{Model: core.Job{Model: base, DType: "float32"}, Tokenizer: base, Origins: map[string]string{}, Run: t.Name(),
			Output: filepath.Join(dir, "found.json")}
		for i := range n {
			job.Domain.Shards = append(job.Domain.Shards, fmt.Sprintf("s3://bucket/run/eval/domain-%05d-of-%05d.parquet", i, n))
			job.Origins[fmt.Sprintf("s3://bucket/corpus/part-%06d.jsonl.zst", i)] = "de"
		}
		parts, err := measure.Parts(&measure.Input{Domain: job.Domain})
		if err != nil {
			t.Fatal(err)
		}
		p, s := beam.NewPipelineWithRoot()
		out, err := ScoreJob(s, job, parts, false)
		if err != nil {
			t.Fatal(err)
		}
		end.Of(s, out)
		edges, _, err := p.Build()
		if err != nil {
			t.Fatal(err)
		}
		env, err := graphx.CreateEnvironment(t.Context(), graphx.URNEnvDocker, func(context.Context) string { return "image" })
		if err != nil {
			t.Fatal(err)
		}
		graph, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
		if err != nil {
			t.Fatal(err)
		}
		if size := proto.Size(graph); size > 50<<10 {
			t.Errorf("%d shards: the graph has %d bytes", n, size)
		}
		err = jobs.Prism(t.Context(), p, "score")
		Close(job.Run)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Read(job.Output)
		if err != nil {
			t.Fatal(err)
		}
		if l := found.Results.More["own"]; len(l) != 1 || l[0].Numbers["n"] != float64(n) || l[0].Numbers["files"] != float64(n) {
			t.Errorf("%d shards: %+v", n, l)
		}
		if err := Remove(t.Context(), job.Output); err != nil {
			t.Fatal(err)
		}
		if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
			t.Errorf("%v %v", es, err)
		}
	}
}
