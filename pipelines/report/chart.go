package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Chart is a picture of lines over steps that fills the width of its page and has the page's colours, in light and dark. Its texts are
// escaped.
type Chart struct {
	Title  string
	XLabel string
	Series []Series
}

// Series is a line of a chart, or its points. Values that are not finite are gaps.
type Series struct {
	Name string
	X, Y []float64
	// Class is how it is drawn, a class of the page's style: "raw", "line" or "dots".
	Class string
}

// The size of a chart in its own units, and the margins that its labels need.
const (
	chartWidth, chartHeight                      = 640.0, 300.0
	chartLeft, chartRight, chartTop, chartBottom = 76.0, 14.0, 16.0, 52.0
	chartTicksX, chartTicksY, chartPointsAcross  = 6, 5, 1200
)

// Curve is a chart of values over steps, with their running mean where there are enough, and points beside them.
func Curve(title string, values []float64, points *Series) template.HTML {
	steps := make([]float64, len(values))
	for i := range steps {
		steps[i] = float64(i + 1)
	}
	c := Chart{Title: title, XLabel: "step"}
	if len(values) >= smoothFrom {
		c.Series = []Series{{Name: "each step", X: steps, Y: values, Class: "raw"},
			{Name: "smoothed", X: steps, Y: Smooth(values), Class: "line"}}
	} else {
		c.Series = []Series{{X: steps, Y: values, Class: "line"}}
	}
	if points != nil && len(points.X) > 0 {
		c.Series = append(c.Series, *points)
	}
	return c.SVG()
}

// smoothFrom are the values from which on a curve is smoothed.
const smoothFrom = 20

// Smooth is an exponential moving average whose weight fades over a twentieth of the values, without the bias of its beginning, as
// TensorBoard has it. What is not a number is left out of it.
func Smooth(values []float64) []float64 {
	weight := math.Exp(-1 / max(2, float64(len(values))/20))
	out := make([]float64, len(values))
	sum, norm := 0.0, 0.0
	for i, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			sum, norm = weight*sum+(1-weight)*v, weight*norm+(1-weight)
		}
		out[i] = sum / norm
	}
	return out
}

// SVG draws the chart; nothing of one without a finite value.
func (c *Chart) SVG() template.HTML {
	x, y := axis{lo: math.Inf(1), hi: math.Inf(-1)}, axis{lo: math.Inf(1), hi: math.Inf(-1)}
	for _, s := range c.Series {
		for i, v := range s.Y {
			if finite(v) && finite(s.X[i]) {
				x.take(s.X[i])
				y.take(v)
			}
		}
	}
	if x.lo > x.hi {
		return ""
	}
	y.ticks(chartTicksY, true)
	x.ticks(chartTicksX, false)
	px := func(v float64) float64 { return chartLeft + x.share(v)*(chartWidth-chartLeft-chartRight) }
	py := func(v float64) float64 {
		return chartHeight - chartBottom - y.share(v)*(chartHeight-chartTop-chartBottom)
	}
	var b strings.Builder
	escape := template.HTMLEscapeString
	fmt.Fprintf(&b, `<figure class="chart"><figcaption>%s`, escape(c.Title))
	if len(c.Series) > 1 {
		b.WriteString(`<span class="legend">`)
		for _, s := range c.Series {
			fmt.Fprintf(&b, `<span class="%s"><i></i>%s</span>`, escape(s.Class), escape(s.Name))
		}
		b.WriteString(`</span>`)
	}
	fmt.Fprintf(&b, `</figcaption><svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, escape(c.Title))
	for _, v := range y.at {
		fmt.Fprintf(&b, `<path class="grid" d="M%g %.1fH%g"/><text class="y" x="%g" y="%.1f">%s</text>`, chartLeft, py(v),
			chartWidth-chartRight, chartLeft-8, py(v)+4, y.label(v))
	}
	for _, v := range x.at {
		end := ""
		if px(v) > chartWidth-chartRight-24 { // half a label beside the chart would be cut off
			end = " end"
		}
		fmt.Fprintf(&b, `<text class="x%s" x="%.1f" y="%g">%s</text>`, end, px(v), chartHeight-chartBottom+18, x.label(v))
	}
	fmt.Fprintf(&b, `<text class="x" x="%g" y="%g">%s</text>`, (chartLeft+chartWidth-chartRight)/2, chartHeight-8, escape(c.XLabel))
	for _, s := range c.Series {
		s.draw(&b, px, py)
	}
	b.WriteString("</svg></figure>")
	return template.HTML(b.String())
}

// draw draws a series: of a long one as many points as the picture can show.
func (s *Series) draw(b *strings.Builder, px, py func(float64) float64) {
	if s.Class == "dots" {
		for i, v := range s.Y {
			if finite(v) {
				fmt.Fprintf(b, `<circle class="dots" cx="%.1f" cy="%.1f" r="3.5"/>`, px(s.X[i]), py(v))
			}
		}
		return
	}
	every := max(1, len(s.Y)/chartPointsAcross)
	fmt.Fprintf(b, `<path class="%s" d="`, template.HTMLEscapeString(s.Class))
	pen := "M"
	for i := 0; i < len(s.Y); i++ {
		if i%every != 0 && i != len(s.Y)-1 {
			continue
		}
		if !finite(s.Y[i]) {
			pen = "M"
			continue
		}
		fmt.Fprintf(b, "%s%.1f %.1f", pen, px(s.X[i]), py(s.Y[i]))
		pen = "L"
	}
	b.WriteString(`"/>`)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// axis is a range of values with its ticks.
type axis struct {
	lo, hi float64
	at     []float64
	step   float64
}

func (a *axis) take(v float64) { a.lo, a.hi = min(a.lo, v), max(a.hi, v) }

// share is where a value lies in the range, from 0 to 1.
func (a *axis) share(v float64) float64 { return (v - a.lo) / (a.hi - a.lo) }

// ticks chooses about n round values of the range, which grow reaches to its ends.
func (a *axis) ticks(n int, grow bool) {
	if a.lo == a.hi {
		d := math.Abs(a.lo) / 10
		if !grow || d == 0 {
			d = 1
		}
		a.lo, a.hi = a.lo-d, a.hi+d
	}
	raw := (a.hi - a.lo) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5, 10} {
		if a.step = f * power; a.step >= raw {
			break
		}
	}
	if !grow {
		a.step = max(a.step, 1) // steps are whole
	}
	first, last := math.Ceil(a.lo/a.step), math.Floor(a.hi/a.step)
	if grow {
		first, last = math.Floor(a.lo/a.step), math.Ceil(a.hi/a.step)
		a.lo, a.hi = first*a.step, last*a.step
	}
	for i := first; i <= last; i++ {
		a.at = append(a.at, i*a.step)
	}
}

// label writes a tick's value with the digits that tell it from its neighbours.
func (a *axis) label(v float64) string {
	if most := max(math.Abs(a.lo), math.Abs(a.hi)); most < 1e-3 || most >= 1e5 {
		if math.Abs(v) < a.step/2 {
			return "0"
		}
		return strings.NewReplacer(".0e", "e", "e-0", "e-", "e+0", "e", "e+", "e").Replace(strconv.FormatFloat(v, 'e', 1, 64))
	}
	digits := max(0, int(math.Ceil(-math.Log10(a.step)-1e-9)))
	return strconv.FormatFloat(v, 'f', digits, 64)
}
