package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/transforms/prepare"
)

//go:embed report.html.tmpl
var page string

//go:embed report.css
var style string

// Style is the style sheet of the reports: their colours, in light and dark, and widths from a telephone's to a desk's.
func Style() template.CSS { return template.CSS(style) }

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"style":   Style,
	"bar":     Bar,
	"ibar":    func(n, of int64) string { return fmt.Sprintf("%.2f%%", 100*float64(n)/float64(max(of, 1))) },
	"percent": func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) },
	"mixed":   mixed,
	"heavy":   prepare.HeavyRules,
}).Parse(page))

// HTML is the self-contained report of a run: what it was, curves, before and after, what became of the records, samples.
func HTML(m *Metrics) ([]byte, error) {
	evals := Series{Name: "held-out text", Class: "dots"}
	for _, e := range m.Train.EvalLoss {
		evals.X, evals.Y = append(evals.X, float64(e.Step)), append(evals.Y, e.Loss)
	}
	rate := Chart{Title: "learning rate", XLabel: "step", Series: []Series{{Y: m.Train.LearningRate, Class: "line"}}}
	for i := range m.Train.LearningRate {
		rate.Series[0].X = append(rate.Series[0].X, float64(i+1))
	}
	var reward template.HTML
	if x := m.Train.Metrics["reward"]; len(x) > 0 {
		reward = Curve("reward of the answers that were sampled, by round", x, nil)
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, map[string]any{"M": m, "Loss": Curve("training loss", m.Train.Loss, &evals), "LR": rate.SVG(),
		"Reward": reward, "Facts": m.facts(), "Reasons": slices.Sorted(maps.Keys(m.Data.Rejected))})
	return b.Bytes(), err
}

// pageFact is what the head of the page says of a run.
type pageFact struct {
	Name, Text string
	Wide, Code bool
}

// facts say what the run was: what is not known, of a run of an earlier version, is left out.
func (m *Metrics) facts() (out []pageFact) {
	add := func(name, text string) {
		if text != "" && text != "0" {
			out = append(out, pageFact{Name: name, Text: text})
		}
	}
	a, t := &m.About, &m.Train
	add("model", a.Model)
	add("data", strings.Join(a.Data, ", "))
	method := a.Method
	if a.Rank > 0 {
		method += fmt.Sprintf(", rank %d", a.Rank)
	}
	add("method", method)
	add("objective", a.LearnsBy)
	if a.Rate > 0 {
		add("learning rate", strconv.FormatFloat(a.Rate, 'g', -1, 64))
	}
	steps := fmt.Sprint(t.Steps)
	if t.StoppedEarly {
		steps += " (stopped early)"
	}
	add("steps", steps)
	add("trained parameters", fmt.Sprintf("%d of %d (%.2f %%)", t.Trainable, t.Total, 100*float64(t.Trainable)/float64(max(t.Total, 1))))
	add("tokens", fmt.Sprintf("%d, %.0f a second", t.Tokens, t.TokensPerSecond))
	add("peak memory", fmt.Sprintf("%d MiB", t.PeakRSS>>20))
	add("kernel set", strings.TrimSuffix(a.KernelSet+", "+a.DType, ", "))
	if g := m.GGUF; g != nil {
		add("perplexity as "+g.Quant+" (GGUF)", fmt.Sprintf("%.3f, unquantised %.3f (%+.2f %%), of the domain's first %d held-out tokens",
			g.File, g.Model, g.Rise(), g.Tokens))
	}
	add("seed", fmt.Sprint(a.Seed))
	add("finished", a.Finished)
	if a.Seconds > 0 {
		add("duration", Clock(a.Seconds))
	}
	add("adaptflow", a.Version)
	add("recipe", a.Recipe[:min(12, len(a.Recipe))])
	if a.Command != "" {
		out = append(out, pageFact{"command", a.Command, true, true})
	}
	return out
}

// Clock is a time for people, as 0.21 s, 42 s, 3 min 20 s or 2 h 5 min.
func Clock(seconds float64) string {
	switch {
	case seconds < 10:
		return fmt.Sprintf("%.2g s", seconds)
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 7200:
		return fmt.Sprintf("%d min %d s", int(seconds)/60, int(seconds)%60)
	}
	return fmt.Sprintf("%d h %d min", int(seconds)/3600, int(seconds)%3600/60)
}
