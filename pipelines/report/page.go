package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"slices"

	"gonum.org/v1/plot/plotter"

	"github.com/adaptflow/adaptflow/transforms/prepare"
)

//go:embed report.html.tmpl
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"mib":     func(n int64) int64 { return n >> 20 },
	"share":   func(a, b int64) string { return fmt.Sprintf("%.2f %%", 100*float64(a)/float64(max(b, 1))) },
	"bar":     Bar,
	"ibar":    func(n, of int64) string { return fmt.Sprintf("%.2f%%", 100*float64(n)/float64(max(of, 1))) },
	"percent": func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) },
	"mixed":   mixed,
	"heavy":   prepare.HeavyRules,
	"less":    func(a, b int64) int64 { return a - b },
}).Parse(page))

// HTML is the self-contained report of a run: curves, before and after, what became of the records, samples.
func HTML(m *Metrics) ([]byte, error) {
	var evals plotter.XYs
	for _, e := range m.Train.EvalLoss {
		evals = append(evals, plotter.XY{X: float64(e.Step), Y: e.Loss})
	}
	loss, err := Curve("training loss (points: validation)", m.Train.Loss, evals)
	if err != nil {
		return nil, err
	}
	lr, err := Curve("learning rate", m.Train.LearningRate, nil)
	if err != nil {
		return nil, err
	}
	var reward template.HTML
	if x := m.Train.Metrics["reward"]; len(x) > 0 {
		if reward, err = Curve("reward of the answers that were sampled, by round", x, nil); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	err = pageTemplate.Execute(&b, map[string]any{"M": m, "Loss": loss, "LR": lr, "Reward": reward,
		"Reasons": slices.Sorted(maps.Keys(m.Data.Rejected))})
	return b.Bytes(), err
}
