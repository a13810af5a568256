package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// MetricsFile is the summary of a finished run of one adapter.
const MetricsFile = "metrics.json"

// Metrics is metrics.json: the summary of a finished run, with stable keys.
type Metrics struct {
	Eval  measure.Changes `json:"eval"`
	Train struct {
		Steps           int          `json:"steps"`
		Loss            []float64    `json:"loss"`
		LearningRate    []float64    `json:"learning_rate"`
		GradNorm        []float64    `json:"grad_norm"`
		EvalLoss        []train.Eval `json:"eval_loss,omitempty"`
		BestStep        int          `json:"best_step,omitempty"`
		StoppedEarly    bool         `json:"stopped_early,omitempty"`
		Guard           string       `json:"forgetting_guard,omitempty"` // what evaluate.max_general_rise came to
		Tokens          int64        `json:"tokens"`
		TokensPerSecond float64      `json:"tokens_per_second"`
		Seconds         float64      `json:"seconds"`
		PeakRSS         int64        `json:"peak_rss_bytes"`
		Trainable       int64        `json:"trainable_parameters"`
		Total           int64        `json:"total_parameters"`
		// Of rounds with several replicas: what they sent and were sent a round, in the mean, and in how many rounds replicas were dropped.
		BytesSentARound     int64 `json:"bytes_sent_per_round,omitempty"`
		BytesReceivedARound int64 `json:"bytes_received_per_round,omitempty"`
		RoundsWithDropped   int   `json:"rounds_with_dropped_replicas,omitempty"`

		// Metrics are an objective's own, a number a step, by name.
		Metrics map[string][]float64 `json:"metrics,omitempty"`
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
		Overlap   []Overlap        `json:"overlap,omitempty"` // of what is measured on with what is trained on
		// EvalInput and GeneralInput count the records that are measured on, where they are not held out of the input.
		EvalInput    *SetCounts `json:"eval_input,omitempty"`
		GeneralInput *SetCounts `json:"general_input,omitempty"`
	} `json:"data"`
	Samples []measure.SamplePair `json:"samples,omitempty"`
	// GGUF is what storing the merged model in a GGUF file cost.
	GGUF  *export.GGUFPerplexity `json:"gguf_perplexity,omitempty"`
	Paths []string               `json:"paths"` // what the run wrote, relative to its folder
	About struct {
		Version   string `json:"version"`
		Seed      uint64 `json:"seed"`
		KernelSet string `json:"kernel_set"`
		KernelWhy string `json:"kernel_set_reason,omitempty"` // why this set is in use; empty in what earlier versions wrote
		DType     string `json:"dtype,omitempty"`             // as resolved: what "auto" became
		Recipe    string `json:"recipe_sha256"`

		// What the run was: the base model and the input as the recipe names them, the method and its rank. Finished is a time of RFC 3339,
		// Seconds the run's, or what it took since it was taken up last; Command is how it was started, without the values of variables.
		Model    string   `json:"model,omitempty"`
		Data     []string `json:"data,omitempty"`
		Method   string   `json:"method,omitempty"`
		Rank     int64    `json:"rank,omitempty"`
		LearnsBy string   `json:"objective,omitempty"`
		Rate     float64  `json:"learning_rate,omitempty"`
		Finished string   `json:"finished,omitempty"`
		Seconds  float64  `json:"run_seconds,omitempty"`
		Command  string   `json:"command,omitempty"`
	} `json:"adaptflow"`
}

// SetCounts are the records of a set of input: Read = Kept + all of Rejected.
type SetCounts struct {
	Read     int64            `json:"read"`
	Kept     int64            `json:"kept"`
	Rejected map[string]int64 `json:"rejected"`
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
	if t.Guard != "" {
		row("forgetting guard", t.Guard)
	}
	row("tokens trained on", fmt.Sprint(t.Tokens))
	row("tokens a second", fmt.Sprintf("%.0f", t.TokensPerSecond))
	if t.BytesSentARound > 0 {
		row("sent a round", fmt.Sprintf("%.1f KiB by replicas, %.1f KiB to them", float64(t.BytesSentARound)/1024,
			float64(t.BytesReceivedARound)/1024))
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
				row("    "+p.Name, fmt.Sprintf("%d used, %d repetitions, %d tokens (%.1f %%)", p.Documents, p.Repeated,
					p.Tokens, 100*p.Share))
			}
		}
	}
	for _, s := range []struct {
		name string
		n    *SetCounts
	}{{"eval records", m.Data.EvalInput}, {"general records", m.Data.GeneralInput}} {
		if s.n != nil && s.n.Read > s.n.Kept {
			row(s.name, fmt.Sprintf("%d read, %d kept, %d rejected: %s", s.n.Read, s.n.Kept, s.n.Read-s.n.Kept,
				prepare.Reasons(s.n.Rejected)))
		}
	}
	for _, o := range m.Data.Overlap {
		row("warning", o.String())
	}
	for _, h := range prepare.HeavyRules(m.Data.Funnel) {
		row("warning", h.String())
	}
	row("packing", fmt.Sprintf("%d sequences, %.1f %% filled", m.Data.Sequences, 100*m.Data.FillRate))
	if g := m.GGUF; g != nil {
		row("perplexity as "+g.Quant, fmt.Sprintf("%.3f, unquantised %.3f (%+.2f %%), of the domain's first %d held-out tokens",
			g.File, g.Model, g.Rise(), g.Tokens))
	}
	for _, s := range m.Samples {
		fmt.Fprintf(w, "\n  prompt: %s\n  before: %s\n  after:  %s\n", OneLine(s.Prompt), OneLine(s.Before), OneLine(s.After))
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
			out = append(out, mixedSource{Name: name, Documents: s.Counters[name+".documents"], Repeated: s.Counters[name+".repeated"],
				Tokens: s.Counters[k]})
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
