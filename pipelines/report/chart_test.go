package report

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSmooth: a constant stays itself from the first value on, noise becomes less, and what is not a number is left out.
func TestSmooth(t *testing.T) {
	flat := Smooth([]float64{3, 3, math.NaN(), 3})
	for i, v := range flat {
		if math.Abs(v-3) > 1e-12 {
			t.Errorf("value %d of a constant is %g", i, v)
		}
	}
	var noisy []float64
	for i := range 400 {
		noisy = append(noisy, 2+float64(i%2))
	}
	smooth := Smooth(noisy)
	if last := smooth[len(smooth)-1]; math.Abs(last-2.5) > 0.05 {
		t.Errorf("the mean of 2 and 3 is %g", last)
	}
}

var coordinates = regexp.MustCompile(`(?: (?:x|cx)="([-0-9.]+)")|(?: (?:y|cy)="([-0-9.]+)")`)

// TestChart: a chart is well-formed, its labels and points lie within its frame, it has a legend where it has several series, texts are
// escaped, and gaps, constants and single values are drawn.
func TestChart(t *testing.T) {
	for name, c := range map[string]Chart{
		"two series": {Title: "a < b & c", XLabel: "step", Series: []Series{{Name: "<raw>", X: []float64{1, 2, 3}, Y: []float64{5, 4, 3.5},
			Class: "raw"}, {Name: "points", X: []float64{2}, Y: []float64{4.25}, Class: "dots"}}},
		"small values": {Title: "rate", Series: []Series{{X: []float64{1, 2}, Y: []float64{2e-5, 1e-6}, Class: "line"}}},
		"a constant":   {Title: "rate", Series: []Series{{X: []float64{1, 2}, Y: []float64{0.5, 0.5}, Class: "line"}}},
		"one value":    {Title: "loss", Series: []Series{{X: []float64{1}, Y: []float64{0}, Class: "line"}}},
		"a gap":        {Title: "loss", Series: []Series{{X: []float64{1, 2, 3}, Y: []float64{1, math.Inf(1), 3}, Class: "line"}}},
		"large":        {Title: "loss", Series: []Series{{X: []float64{1, 2e6}, Y: []float64{-1e6, 2.5e6}, Class: "line"}}},
	} {
		svg := string(c.SVG())
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, svg)
			}
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, "legend") != (len(c.Series) > 1) {
			t.Errorf("%s: %s", name, svg)
		}
		for _, m := range coordinates.FindAllStringSubmatch(svg, -1) {
			for i, most := range []float64{chartWidth, chartHeight} {
				if v, err := strconv.ParseFloat(m[i+1], 64); err == nil && (v < 0 || v > most) {
					t.Errorf("%s: something lies at %g of %g", name, v, most)
				}
			}
		}
		for _, m := range regexp.MustCompile(`class="y" x="([0-9.]+)"[^>]*>([^<]*)<`).FindAllStringSubmatch(svg, -1) {
			if x, _ := strconv.ParseFloat(m[1], 64); float64(len(m[2]))*11 > x { // at the 19px of a narrow page
				t.Errorf("%s: the label %q begins left of the picture", name, m[2])
			}
		}
	}
	if svg := (&Chart{Series: []Series{{X: []float64{1}, Y: []float64{math.NaN()}}}}).SVG(); svg != "" {
		t.Errorf("a chart of nothing: %s", svg)
	}
}

// TestPageFacts: the page says what the run was, and texts of users have the direction of their script.
func TestPageFacts(t *testing.T) {
	m := &Metrics{}
	m.About.Model, m.About.Method, m.About.Rank, m.About.Rate, m.About.Finished = "SmolLM2", "LORA", 8, 5e-4, "2026-12-01T00:00:00Z"
	m.About.Seconds, m.About.Command, m.About.Data = 200, "adaptflow run 'a b'", []string{"a.jsonl"}
	m.Samples = append(m.Samples, struct {
		Prompt string `json:"prompt"`
		Before string `json:"before"`
		After  string `json:"after"`
	}{"שלום", "עולם", "<script>"})
	b, err := HTML(m)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, want := range []string{"SmolLM2", "LORA, rank 8", "0.0005", "3 min 20 s", "a.jsonl", "2026-12-01T00:00:00Z",
		"adaptflow run &#39;a b&#39;",
		`<pre dir="auto">עולם</pre>`, `<p dir="auto"><b>שלום`, "&lt;script&gt;", "prefers-color-scheme: dark"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
