package pipelines

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// ReportFile is the name of the report for people.
const ReportFile = "report.html"

//go:embed report.html.tmpl
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"mib":     func(n int64) int64 { return n >> 20 },
	"share":   func(a, b int64) string { return fmt.Sprintf("%.2f %%", 100*float64(a)/float64(max(b, 1))) },
	"bar":     bar,
	"ibar":    func(n, of int64) string { return fmt.Sprintf("%.2f%%", 100*float64(n)/float64(max(of, 1))) },
	"percent": func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) },
	"mixed":   mixed,
	"less":    func(a, b int64) int64 { return a - b },
}).Parse(page))

// curve draws values over steps as an SVG picture.
func curve(title string, values []float64, evals plotter.XYs) (template.HTML, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, "step"
	xy := make(plotter.XYs, len(values))
	for i, v := range values {
		xy[i].X, xy[i].Y = float64(i+1), v
	}
	line, err := plotter.NewLine(xy)
	if err != nil {
		return "", err
	}
	p.Add(plotter.NewGrid(), line)
	if len(evals) > 0 {
		points, err := plotter.NewScatter(evals)
		if err != nil {
			return "", err
		}
		p.Add(points)
	}
	return picture(p, 5.5*vg.Inch, 3*vg.Inch)
}

// picture draws a plot as SVG to stand in a page. What the plot shows must be the program's own: it is not escaped.
func picture(p *plot.Plot, width, height vg.Length) (template.HTML, error) {
	c := vgsvg.New(width, height)
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	svg := b.Bytes()
	if i := bytes.Index(svg, []byte("<svg")); i > 0 {
		svg = svg[i:] // without the XML declaration, which has no place inside a page
	}
	return template.HTML(svg), nil
}

// HTML is the self-contained report of a run: curves, before and after, what became of the records, samples.
func HTML(m *Metrics) ([]byte, error) {
	var evals plotter.XYs
	for _, e := range m.Train.EvalLoss {
		evals = append(evals, plotter.XY{X: float64(e.Step), Y: e.Loss})
	}
	loss, err := curve("training loss (points: validation)", m.Train.Loss, evals)
	if err != nil {
		return nil, err
	}
	lr, err := curve("learning rate", m.Train.LearningRate, nil)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = pageTemplate.Execute(&b, map[string]any{"M": m, "Loss": loss, "LR": lr, "Reasons": sortedKeys(m.Data.Rejected)})
	return b.Bytes(), err
}
