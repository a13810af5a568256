package report

import (
	"bytes"
	"html/template"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Curve draws values over steps as an SVG picture.
func Curve(title string, values []float64, evals plotter.XYs) (template.HTML, error) {
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
	return Picture(p, 5.5*vg.Inch, 3*vg.Inch)
}

// Picture draws a plot as SVG to stand in a page. What the plot shows must be the program's own: it is not escaped.
func Picture(p *plot.Plot, width, height vg.Length) (template.HTML, error) {
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
