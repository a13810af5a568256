package run

import (
	"path/filepath"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/track"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

func countSet(res *prepare.Result) *report.SetCounts {
	if res == nil {
		return nil
	}
	return &report.SetCounts{Read: res.Read, Kept: res.Kept, Rejected: res.Rejected}
}

// summarise writes the summary files; metrics.json, which makes the run finished, last.
func (r *Run) summarise(d *Data, st *train.State, before, after *measure.Results) (*report.Metrics, error) {
	m := &report.Metrics{Eval: measure.Compare(before, after), Samples: measure.Pairs(before, after)}
	t := &m.Train
	t.Steps, t.Tokens, t.Seconds, t.PeakRSS, t.EvalLoss, t.BestStep, t.StoppedEarly = st.Step, st.TokensSeen, st.Seconds, mem.HighWater(),
		st.Evals, st.BestStep, st.Stopped
	for _, s := range st.History {
		t.Loss, t.LearningRate, t.GradNorm = append(t.Loss, s.Loss), append(t.LearningRate, s.LearningRate), append(t.GradNorm, s.GradNorm)
		for name, v := range s.Metrics {
			if t.Metrics == nil {
				t.Metrics = map[string][]float64{}
			}
			t.Metrics[name] = append(t.Metrics[name], v)
		}
		t.BytesSentARound, t.BytesReceivedARound = t.BytesSentARound+s.BytesSent, t.BytesReceivedARound+s.BytesReceived
		if s.Contributors != nil && len(s.Contributors) < r.Recipe.Train.Replicas {
			t.RoundsWithDropped++
		}
	}
	if n := int64(len(st.History)); n > 0 {
		t.BytesSentARound, t.BytesReceivedARound = t.BytesSentARound/n, t.BytesReceivedARound/n
	}
	if st.Seconds > 0 {
		t.TokensPerSecond = float64(st.TokensSeen) / st.Seconds
	}
	trained, total, err := r.Parameters()
	if err != nil {
		return nil, err
	}
	t.Trainable, t.Total = int64(trained), total
	p := d.Train
	m.Data.Read, m.Data.Kept, m.Data.Rejected, m.Data.Funnel, m.Data.FillRate, m.Data.Tokens, m.Data.Sequences = p.Read, p.Kept, p.Rejected,
		p.Funnel, p.FillRate, p.Tokens, p.Sequences
	m.Data.Overlap = d.Overlap
	if g := r.guarded(); g != nil {
		t.Guard = g.String()
	}
	m.Data.EvalInput, m.Data.GeneralInput = countSet(d.domain), countSet(d.general)
	m.Data.Formats, m.Data.Unused, m.Data.Notes = p.Layouts, p.Tally.Unused, p.Tally.Notes
	m.About.Version, m.About.Seed, m.About.KernelSet, m.About.Recipe = version.Version, r.Recipe.Train.Seed,
		kernels.Active().String(), r.Recipe.Hash()
	r.about(m)
	m.About.KernelWhy, m.About.DType = kernels.Why(), r.dtype
	m.Paths = []string{AdapterDir, "shards"}
	if len(p.RejectFiles) > 0 {
		m.Paths = append(m.Paths, RejectsDir)
	}
	if r.store == "" {
		m.Paths = append(m.Paths, "checkpoints")
	}
	m.Paths = append(m.Paths, report.File, MetricsFile, RecipeFile)
	for _, f := range export.Wanted(&r.Recipe.Export) {
		if f.Folder != AdapterDir { // which comes first
			m.Paths = append(m.Paths, f.Folder)
		}
	}
	m.Paths = append(m.Paths, track.File)
	if r.reports("tensorboard") {
		m.Paths = append(m.Paths, report.EventsPrefix+r.Recipe.Hash()[:8])
	}
	if m.GGUF, err = r.gguf(d, after); err != nil {
		return nil, err
	}
	if err := r.pages(m, st); err != nil {
		return nil, err
	}
	if err := r.noteOutputs(m); err != nil {
		return nil, err
	}
	return m, storage.WriteJSON(filepath.Join(r.Output, MetricsFile), m)
}
