package run

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Metrics is metrics.json: the summary of a finished run, with stable keys.
type Metrics struct {
	Eval  measure.Changes `json:"eval"`
	Train struct {
		Steps           int         `json:"steps"`
		Loss            []float64   `json:"loss"`
		LearningRate    []float64   `json:"learning_rate"`
		GradNorm        []float64   `json:"grad_norm"`
		EvalLoss        []core.Eval `json:"eval_loss,omitempty"`
		BestStep        int         `json:"best_step,omitempty"`
		StoppedEarly    bool        `json:"stopped_early,omitempty"`
		Tokens          int64       `json:"tokens"`
		TokensPerSecond float64     `json:"tokens_per_second"`
		Seconds         float64     `json:"seconds"`
		PeakRSS         int64       `json:"peak_rss_bytes"`
		Trainable       int64       `json:"trainable_parameters"`
		Total           int64       `json:"total_parameters"`
		// Of rounds with several replicas: what they sent and were sent a round, in the mean, and in how many rounds replicas were dropped.
		BytesSentARound     int64 `json:"bytes_sent_per_round,omitempty"`
		BytesReceivedARound int64 `json:"bytes_received_per_round,omitempty"`
		RoundsWithDropped   int   `json:"rounds_with_dropped_replicas,omitempty"`
	} `json:"train"`
	Data struct {
		Read      int64            `json:"read"`
		Kept      int64            `json:"kept"`
		Rejected  map[string]int64 `json:"rejected"`
		Funnel    []prepare.Stage  `json:"funnel"`
		Formats   []string         `json:"formats,omitempty"`       // what was detected
		Unused    map[string]int64 `json:"unused_fields,omitempty"` // rows by the name of a field that was not used
		Notes     map[string]int64 `json:"notes,omitempty"`         // records by what is noted of them
		FillRate  float64          `json:"fill_rate"`
		Tokens    int64            `json:"tokens"`
		Sequences int64            `json:"sequences"`
		Overlap   []report.Overlap `json:"overlap,omitempty"` // of what is measured on with what is trained on
		// EvalInput and GeneralInput count the records that are measured on, where they are not held out of the input.
		EvalInput    *SetCounts `json:"eval_input,omitempty"`
		GeneralInput *SetCounts `json:"general_input,omitempty"`
	} `json:"data"`
	Samples []measure.SamplePair `json:"samples,omitempty"`
	Paths   []string             `json:"paths"` // what the run wrote, relative to its folder
	About   struct {
		Version   string `json:"version"`
		Seed      uint64 `json:"seed"`
		KernelSet string `json:"kernel_set"`
		KernelWhy string `json:"kernel_set_reason,omitempty"` // why this set is in use; empty in what earlier versions wrote
		DType     string `json:"dtype,omitempty"`             // as resolved: what "auto" became
		Recipe    string `json:"recipe_sha256"`
	} `json:"adaptflow"`
}

// SetCounts are the records of a set of input: Read = Kept + all of Rejected.
type SetCounts struct {
	Read     int64            `json:"read"`
	Kept     int64            `json:"kept"`
	Rejected map[string]int64 `json:"rejected"`
}

func countSet(res *prepare.Result) *SetCounts {
	if res == nil {
		return nil
	}
	return &SetCounts{res.Read, res.Kept, res.Rejected}
}

// report writes the summary files; metrics.json, which makes the run finished, last.
func (r *Run) report(d *Data, st *core.State, a *peft.Adapter, before, after *measure.Results) (*Metrics, error) {
	m := &Metrics{Eval: measure.Compare(before, after), Samples: measure.Pairs(before, after)}
	t := &m.Train
	t.Steps, t.Tokens, t.Seconds, t.PeakRSS, t.EvalLoss, t.BestStep, t.StoppedEarly = st.Step, st.TokensSeen, st.Seconds, mem.HighWater(), st.Evals, st.BestStep, st.Stopped
	for _, s := range st.History {
		t.Loss, t.LearningRate, t.GradNorm = append(t.Loss, s.Loss), append(t.LearningRate, s.LearningRate), append(t.GradNorm, s.GradNorm)
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
	args := r.Args()
	trained, err := core.TrainedCount(&args, a)
	if err != nil {
		return nil, err
	}
	t.Trainable = int64(trained)
	t.Total = a.Total(r.model.ParamCount())
	p := d.Train
	m.Data.Read, m.Data.Kept, m.Data.Rejected, m.Data.Funnel, m.Data.FillRate, m.Data.Tokens, m.Data.Sequences = p.Read, p.Kept, p.Rejected, p.Funnel, p.FillRate, p.Tokens, p.Sequences
	m.Data.Overlap = d.Overlap
	m.Data.EvalInput, m.Data.GeneralInput = countSet(d.domain), countSet(d.general)
	m.Data.Formats, m.Data.Unused, m.Data.Notes = p.Layouts, p.Tally.Unused, p.Tally.Notes
	m.About.Version, m.About.Seed, m.About.KernelSet, m.About.Recipe = version.Version, r.Recipe.Train.Seed, kernels.Active().String(), r.Recipe.Hash()
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
	m.Paths = append(m.Paths, eventsPrefix+r.Recipe.Hash()[:8])
	if err := r.pages(m, st); err != nil {
		return nil, err
	}
	if err := r.noteOutputs(m); err != nil {
		return nil, err
	}
	return m, storage.WriteJSON(filepath.Join(r.Output, MetricsFile), m)
}

// Sections are the tables of what was measured.
func (m *Metrics) Sections() []measure.Section { return measure.Sections(&m.Eval) }

// Table prints the summary for a person.
func (m *Metrics) Table(w io.Writer, output string) {
	row := func(name, value string) { fmt.Fprintf(w, "  %-24s %s\n", name, value) }
	fmt.Fprintln(w)
	measure.Print(w, m.Sections())
	fmt.Fprintln(w)
	t := m.Train
	row("trained parameters", fmt.Sprintf("%d of %d (%.2f %%)", t.Trainable, t.Total, 100*float64(t.Trainable)/float64(t.Total)))
	row("steps", fmt.Sprint(t.Steps))
	row("tokens trained on", fmt.Sprint(t.Tokens))
	row("tokens a second", fmt.Sprintf("%.0f", t.TokensPerSecond))
	if t.BytesSentARound > 0 {
		row("sent a round", fmt.Sprintf("%.1f KiB by replicas, %.1f KiB to them", float64(t.BytesSentARound)/1024, float64(t.BytesReceivedARound)/1024))
	}
	if t.RoundsWithDropped > 0 {
		row("rounds without all", fmt.Sprintf("%d of %d: late replicas were dropped", t.RoundsWithDropped, len(t.Loss)))
	}
	row("peak memory", fmt.Sprintf("%d MiB", t.PeakRSS>>20))
	if m.About.KernelWhy != "" {
		row("kernel set", fmt.Sprintf("%s, %s (%s)", m.About.KernelSet, m.About.DType, m.About.KernelWhy))
	}
	rejected := ""
	for _, k := range slices.Sorted(maps.Keys(m.Data.Rejected)) {
		rejected += fmt.Sprintf(", %s %d", k, m.Data.Rejected[k])
	}
	row("records", fmt.Sprintf("%d read, %d kept, %d rejected%s", m.Data.Read, m.Data.Kept, m.Data.Read-m.Data.Kept, rejected))
	if len(m.Data.Funnel) > 1 {
		for _, s := range m.Data.Funnel {
			row("  "+s.Name, fmt.Sprintf("%d in, %d kept, %d changed", s.In, s.Kept, s.Changed))
			for _, p := range mixed(s) {
				row("    "+p.Name, fmt.Sprintf("%d used, %d repetitions, %d tokens (%.1f %%)", p.Documents, p.Repeated, p.Tokens, 100*p.Share))
			}
		}
	}
	for _, s := range []struct {
		name string
		n    *SetCounts
	}{{"eval records", m.Data.EvalInput}, {"general records", m.Data.GeneralInput}} {
		if s.n != nil && s.n.Read > s.n.Kept {
			row(s.name, fmt.Sprintf("%d read, %d kept, %d rejected: %s", s.n.Read, s.n.Kept, s.n.Read-s.n.Kept, prepare.Reasons(s.n.Rejected)))
		}
	}
	for _, o := range m.Data.Overlap {
		row("warning", o.String())
	}
	row("packing", fmt.Sprintf("%d sequences, %.1f %% filled", m.Data.Sequences, 100*m.Data.FillRate))
	for _, s := range m.Samples {
		fmt.Fprintf(w, "\n  prompt: %s\n  before: %s\n  after:  %s\n", report.OneLine(s.Prompt), report.OneLine(s.Before), report.OneLine(s.After))
	}
	fmt.Fprintf(w, "\n  written to %s:\n", output)
	for _, p := range m.Paths {
		fmt.Fprintln(w, "    "+storage.Join(output, p))
	}
}

// mixedSource is what mixing made of a named source.
type mixedSource struct {
	Name                        string
	Documents, Repeated, Tokens int64
	Share                       float64 // of all tokens
}

// mixed lists the sources of the stage of mixing; nil for other stages.
func mixed(s prepare.Stage) (out []mixedSource) {
	if s.Name != "mix" {
		return nil
	}
	all := int64(0)
	for _, k := range slices.Sorted(maps.Keys(s.Counters)) {
		if name, ok := strings.CutSuffix(k, ".tokens"); ok {
			out = append(out, mixedSource{Name: name, Documents: s.Counters[name+".documents"], Repeated: s.Counters[name+".repeated"], Tokens: s.Counters[k]})
			all += s.Counters[k]
		}
	}
	for i := range out {
		out[i].Share = float64(out[i].Tokens) / float64(max(all, 1))
	}
	return out
}

// ReadMetrics reads the summary of a finished run.
func ReadMetrics(output string) (*Metrics, error) {
	raw, err := storage.ReadSmall(filepath.Join(output, MetricsFile), storage.KindState)
	if err != nil {
		return nil, err
	}
	var m Metrics
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(output, MetricsFile), err)
	}
	return &m, nil
}
