package kinds

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/report"
)

// CompareFile is the summary of a comparison of methods.
const CompareFile = "compare.json"

// Trial is one training of a comparison.
type Trial struct {
	Method          string         `json:"method"`
	Config          map[string]any `json:"config"`
	LearningRate    float64        `json:"learning_rate"`
	Trainable       int            `json:"trainable_parameters"`
	Validation      float64        `json:"validation_nll"` // by which the learning rate is chosen: text held out of the training input
	Domain          float64        `json:"domain_nll"`
	General         float64        `json:"general_nll,omitempty"`
	TokensPerSecond float64        `json:"tokens_per_second"`
	Diverged        bool           `json:"diverged,omitempty"`
}

// Comparison is what `run compare-methods` found: every trial, and the best of each method.
type Comparison struct {
	Budget int `json:"parameter_budget"`
	Base   struct {
		Domain  float64 `json:"domain_nll"`
		General float64 `json:"general_nll,omitempty"`
	} `json:"base"`
	Overlap []report.Overlap `json:"overlap,omitempty"` // of what is measured on with what is trained on
	Best    []Trial          `json:"best"`              // by method, the largest domain gain first
	Trials  []Trial          `json:"trials"`
	Paths   []string         `json:"paths"`
}

// Table prints the comparison for a person.
func (c *Comparison) Table(w io.Writer, output string) {
	fmt.Fprintf(w, "\n  base: domain perplexity %s", measure.Figure("%.2f", report.Perplexity(c.Base.Domain)))
	if c.Base.General > 0 {
		fmt.Fprintf(w, ", general %.2f", math.Exp(c.Base.General))
	}
	fmt.Fprintf(w, "; budget %d parameters\n\n  %-26s %10s %10s %12s %10s %12s %10s %10s\n", c.Budget, "method", "parameters", "rate",
		"domain", "gain", "general", "forgotten", "tokens/s")
	fmt.Fprintln(w, "  "+strings.Repeat("-", 107))
	for _, t := range c.Best {
		general, forgotten := "", ""
		if c.Base.General > 0 {
			general, forgotten = fmt.Sprintf("%.2f", math.Exp(t.General)),
				fmt.Sprintf("%+.1f %%", 100*(math.Exp(t.General-c.Base.General)-1))
		}
		fall := measure.Figure("%.1f %%", 100*(1-report.Perplexity(t.Domain)/report.Perplexity(c.Base.Domain)))
		fmt.Fprintf(w, "  %-26s %10d %10g %12s %11s %11s %10s %10.0f\n", t.Method, t.Trainable, t.LearningRate,
			measure.Figure("%.2f", report.Perplexity(t.Domain)), fall, general,
			forgotten, t.TokensPerSecond)
	}
	for _, m := range c.diverged() {
		fmt.Fprintf(w, "  %-26s diverged at every learning rate: lower compare.learning_rates\n", m)
	}
	for _, o := range c.Overlap {
		fmt.Fprintf(w, "  warning: %s\n", o)
	}
	fmt.Fprintf(w, "\n  written to %s:\n", output)
	for _, p := range c.Paths {
		fmt.Fprintln(w, "    "+storage.Join(output, p))
	}
}

// diverged are the methods of which no trial ended well, in the trials' order.
func (c *Comparison) diverged() (out []string) {
	for _, t := range c.Trials {
		if !slices.Contains(out, t.Method) && !slices.ContainsFunc(c.Best, func(b Trial) bool { return b.Method == t.Method }) {
			out = append(out, t.Method)
		}
	}
	return out
}

//go:embed compare.html.tmpl
var comparePage string

var compareTemplate = template.Must(template.New("compare").Funcs(template.FuncMap{
	"style": report.Style, "ppl": math.Exp,
	"gain": func(after, before float64) float64 { return 100 * (1 - math.Exp(after-before)) },
	"lost": func(after, before float64) float64 { return 100 * (math.Exp(after-before) - 1) },
}).Parse(comparePage))

// compareHTML is the self-contained report of a comparison: the plot of gain against forgetting, the best of each method, all trials.
func compareHTML(c *Comparison) ([]byte, error) {
	p := plot.New()
	p.Title.Text = "domain gain against forgetting"
	p.X.Label.Text, p.Y.Label.Text = "general perplexity, change in %", "domain perplexity, fall in %"
	var xy plotter.XYs
	var names []string
	for _, t := range c.Best {
		if math.IsNaN(t.Domain + c.Base.Domain) { // nothing was measured
			continue
		}
		x := 0.0
		if c.Base.General > 0 {
			x = 100 * (math.Exp(t.General-c.Base.General) - 1)
		}
		xy = append(xy, plotter.XY{X: x, Y: 100 * (1 - math.Exp(t.Domain-c.Base.Domain))})
		names = append(names, " "+t.Method)
	}
	p.Add(plotter.NewGrid())
	if len(xy) > 0 {
		points, err := plotter.NewScatter(xy)
		if err != nil {
			return nil, err
		}
		points.Shape, points.Radius = draw.CircleGlyph{}, vg.Points(3)
		labels, err := plotter.NewLabels(plotter.XYLabels{XYs: xy, Labels: names})
		if err != nil {
			return nil, err
		}
		p.Add(points, labels)
		// Room for the names.
		span := max(p.X.Max-p.X.Min, 1)
		p.X.Min, p.X.Max = p.X.Min-0.05*span, p.X.Max+0.35*span
		high := max(p.Y.Max-p.Y.Min, 1)
		p.Y.Min, p.Y.Max = p.Y.Min-0.08*high, p.Y.Max+0.08*high
	}
	svg, err := report.Picture(p, 8*vg.Inch, 5*vg.Inch) // drawn from numbers and method names
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = compareTemplate.Execute(&page, map[string]any{"C": c, "Plot": svg})
	return page.Bytes(), err
}
