package drive

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/pipelines/drive/drivetest"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/train"
)

// TestTrainingIsCounted: the engine knows the steps, tokens, losses and checkpoints of training as the run's log has them.
func TestTrainingIsCounted(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		job := drivetest.Job(t)
		job.Args.Replicas = replicas
		raw, err := json.Marshal(&job)
		if err != nil {
			t.Fatal(err)
		}
		p, s := runners.NewPipeline()
		at := beam.Create(s, 0)
		const steps = 3
		if replicas == 1 {
			at = train.Segment(s, string(raw), at, steps)
		} else {
			for range steps {
				at = train.Round(s, string(raw), replicas, at)
			}
			at = train.Checkpoint(s, string(raw), at)
		}
		end.Of(s, at)
		m, err := jobs.PrismMetrics(t.Context(), p, "train")
		if err != nil {
			t.Fatal(err)
		}
		core.CloseSessions()
		dir := core.CheckpointDir(job.Dir, steps)
		st, err := core.ReadState(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := map[meter.Counter]int64{meter.Steps: steps, meter.Tokens: st.TokensSeen}
		files, _ := os.ReadDir(dir)
		for _, f := range files {
			info, err := f.Info()
			if err != nil {
				t.Fatal(err)
			}
			want[meter.CheckpointBytes] += info.Size()
		}
		got := map[meter.Counter]int64{}
		for _, c := range m.AllMetrics().Counters() {
			got[meter.Counter(c.Key.Name)] += c.Result()
		}
		for c, n := range want {
			if got[c] != n {
				t.Errorf("%d replicas: %s is %d, want %d", replicas, c, got[c], n)
			}
		}
		if sent := got[meter.BytesSent]; (sent > 0) != (replicas > 1) {
			t.Errorf("%d replicas sent %d bytes", replicas, sent)
		}
		loss, norm, n := 0.0, 0.0, int64(0)
		for _, d := range m.AllMetrics().Distributions() {
			switch meter.Distribution(d.Key.Name) {
			case meter.Loss:
				loss, n = loss+float64(d.Result().Sum), n+d.Result().Count
			case meter.GradNorm:
				norm += float64(d.Result().Sum)
			}
		}
		for _, h := range st.History {
			loss, norm = loss-h.Loss*1e6, norm-h.GradNorm*1e6
		}
		if n != steps || math.Abs(loss) > steps || math.Abs(norm) > steps {
			t.Errorf("%d replicas: %d losses, off by %g, gradient norms by %g millionths", replicas, n, loss, norm)
		}
	}
}
