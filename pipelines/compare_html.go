package pipelines

import (
	"bytes"
	_ "embed"
	"html/template"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

//go:embed compare.html.tmpl
var comparePage string

var compareTemplate = template.Must(template.New("compare").Funcs(template.FuncMap{
	"ppl":  math.Exp,
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
	svg, err := picture(p, 8*vg.Inch, 5*vg.Inch) // drawn from numbers and method names
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = compareTemplate.Execute(&page, map[string]any{"C": c, "Plot": svg})
	return page.Bytes(), err
}
