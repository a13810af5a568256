package evaluate

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// shards writes n shards of short texts for the embedded model.
func shards(t *testing.T, base string, n int) (paths []string) {
	t.Helper()
	tk, err := tokenize.Load(base)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		path := filepath.Join(t.TempDir(), "shard.parquet")
		w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: 64})
		if err != nil {
			t.Fatal(err)
		}
		for k := range i + 2 {
			ids, err := tk.AppendIDs(nil, fmt.Sprintf("Section %d of page %d is about files and what they hold", k, i), false)
			if err != nil {
				t.Fatal(err)
			}
			labels := slices.Clone(ids)
			labels[0] = datasets.NoLoss
			if err := w.Write(&datasets.Sequence{InputIDs: ids, Labels: labels, DocStarts: []int32{0}, DocIDs: []string{fmt.Sprint(i, k)},
				DocSpans: [][2]int32{{0, 1}}, Sources: []string{"x"}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	return paths
}

// TestScore: a job gives the results, to the bit, of a model that is measured in one piece; it says what it could not measure, and ends
// when its run is interrupted.
func TestScore(t *testing.T) {
	base, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	m, err := infer.Load(base, "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	all := shards(t, base, 4)
	in := &measure.Input{Model: m, Domain: measure.Set{Shards: all[:3]}, General: measure.Set{Shards: all[3:]}, SequenceLength: 64, Seed: 7,
		Config: measure.Config{BatchSize: 2, ExactMatch: 3}}
	in.Config.MaxNewTokens, in.Config.Temperature, in.Config.TopP, in.Config.RepetitionPenalty = 6, 1, 1, 1
	var said []string
	in.Say = func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }
	want, err := measure.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := measure.Parts(in)
	if err != nil || len(parts) != 4 {
		t.Fatal(parts, err)
	}
	job := Job{Model: core.Job{Model: base, DType: "float32"}, Tokenizer: base, Config: in.Config, Domain: in.Domain, General: in.General,
		SequenceLength: 64, Seed: 7, Run: t.Name(), Output: filepath.Join(t.TempDir(), "found.json")}
	score := func(ctx context.Context, job Job, parts []measure.Part) error {
		p, s := beam.NewPipelineWithRoot()
		out, err := ScoreJob(s, job, parts, false)
		if err != nil {
			t.Fatal(err)
		}
		end.Of(s, out)
		defer Close(job.Run)
		return jobs.Prism(ctx, p, "score")
	}
	slices.Reverse(parts)
	if err := score(t.Context(), job, parts); err != nil {
		t.Fatal(err)
	}
	got, err := Read(job.Output)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Results, want) || want.Domain.Tokens == 0 || len(want.Samples) != 1 {
		a, _ := json.Marshal(got.Results)
		b, _ := json.Marshal(want)
		t.Errorf("a job found %s, one piece %s", a, b)
	}
	if !slices.Equal(got.Said, said) || len(said) != 1 {
		t.Errorf("a job said %q, one piece %q", got.Said, said)
	}
	if opened.session != nil {
		t.Error("the model is still open")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer core.Drive(ctx, job.Run)()
	cancel()
	if err := score(t.Context(), job, parts); err == nil || !strings.Contains(err.Error(), core.ErrInterrupted.Error()) {
		t.Errorf("an interrupted run was scored: %v", err)
	}
	if err := storage.WriteFile(job.Output, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(job.Output); err == nil || !strings.Contains(err.Error(), "holds no scores (it has no results): delete it") {
		t.Errorf("%v", err)
	}
	// Where another run works, one that is interrupted does not wait for it.
	done, err := take(t.Context(), "another run")
	if err != nil {
		t.Fatal(err)
	}
	err = score(t.Context(), job, parts)
	done()
	if err == nil || !strings.Contains(err.Error(), core.ErrInterrupted.Error()) {
		t.Errorf("an interrupted run was scored beside another: %v", err)
	}
	job.Run = ""
	if err := score(t.Context(), job, nil); err == nil || !strings.Contains(err.Error(), errNoRun.Error()) {
		t.Errorf("%v", err)
	}
}
