package kinds

import (
	"bytes"
	"context"

	"github.com/adaptflow/adaptflow/pipelines/run"

	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"image/color"
	"io"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/train/continual"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Learned is what continual learning gave so far.
type Learned struct {
	*continual.History
	Current string   `json:"current"` // folder of the adapter in use, relative to the run's; empty for the base model
	PeakRSS int64    `json:"peak_rss_bytes"`
	Paths   []string `json:"paths"`
	// Refused are the files of this call that nothing could be used of, with the reason.
	Refused []string `json:"refused,omitempty"`
}

// Bad is an error that wraps prepare.ErrTooManyBad where files that were taken now could not be used.
func (l *Learned) Bad() error {
	if len(l.Refused) == 0 {
		return nil
	}
	return refusedError(l.Refused)
}

type refusedError []string

func (e refusedError) Error() string {
	return fmt.Sprintf("%d increments could not be used: %s", len(e), strings.Join(e, "; "))
}

func (refusedError) Is(target error) bool { return target == prepare.ErrTooManyBad }

// report writes the report and returns the summary.
func (l *learner) report(ctx context.Context) (*Learned, error) {
	if err := l.mayWrite(ctx); err != nil {
		return nil, err
	}
	out := &Learned{History: l.history, PeakRSS: mem.HighWater(), Refused: l.refused,
		Paths: []string{HistoryFile, report.File, run.RecipeFile}}
	if c := l.history.Current(); c != nil {
		out.Current = c.Adapter
		out.Paths = append([]string{c.Adapter, CurrentFile, VersionsDir}, out.Paths...)
	}
	if len(l.history.Increments) == 0 {
		l.Tell("no file has come yet: %s", strings.Join(l.Recipe.Data.Input, ", "))
	}
	page, err := learnedHTML(l.history)
	if err != nil {
		return nil, err
	}
	return out, storage.WriteFile(l.Product(report.File), page)
}

// perplexity is a score as text.
func perplexity(s *continual.Score) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", s.Perplexity)
}

// line tells what became of an increment.
func (l *learner) line(x *continual.Increment) string {
	s := fmt.Sprintf("increment %d %s", x.Number, strings.ReplaceAll(x.Decision, "_", " "))
	if x.Steps > 0 {
		s += fmt.Sprintf(": domain %s, was %s; general %s, was %s, limit %.2f", perplexity(x.After.Domain), perplexity(x.Before.Domain),
			perplexity(x.After.General), perplexity(x.Before.General),
			l.history.GeneralLimit)
	}
	if x.Reason != "" {
		s += ": " + x.Reason
	}
	return s
}

// names are an increment's files, cut to n characters.
func names(x continual.Increment, n int) string {
	var out []string
	for _, f := range x.Files {
		out = append(out, f.Name)
	}
	s := []rune(strings.Join(out, ", "))
	if len(s) > n {
		s = append(s[:n-1], '…')
	}
	return string(s)
}

// Table prints the history for a person.
func (l *Learned) Table(w io.Writer, output string) {
	fmt.Fprintf(w, "\n  %9s  %-28s %9s %8s %10s %10s %10s  %s\n", "increment", "files", "sequences", "replayed", "domain", "before",
		"general", "decision")
	fmt.Fprintln(w, "  "+strings.Repeat("-", 112))
	fmt.Fprintf(w, "  %9s  %-28s %9s %8s %10s %10s %10s\n", "base", "", "", "", perplexity(l.Base.Domain), "", perplexity(l.Base.General))
	for _, x := range l.Increments {
		fmt.Fprintf(w, "  %9d  %-28s %9d %8d %10s %10s %10s  %s\n", x.Number, names(x, 28), x.Data.Sequences, x.Data.Replayed,
			perplexity(x.After.Domain), perplexity(x.Before.Domain),
			perplexity(x.After.General), strings.ReplaceAll(x.Decision, "_", " "))
		if x.Reason != "" {
			fmt.Fprintf(w, "  %9s  %s\n", "", x.Reason)
		}
		for _, o := range x.Overlap {
			fmt.Fprintf(w, "  %9s  warning: %s\n", "", o)
		}
	}
	row := func(name, value string) { fmt.Fprintf(w, "  %-24s %s\n", name, value) }
	fmt.Fprintln(w)
	row("limit of general", fmt.Sprintf("%.2f", l.GeneralLimit))
	if l.Current == "" {
		row("version in use", "the base model")
	} else {
		row("version in use", l.Current)
	}
	row("peak memory", fmt.Sprintf("%d MiB", l.PeakRSS>>20))
	fmt.Fprintf(w, "\n  written to %s:\n", output)
	for _, p := range l.Paths {
		fmt.Fprintln(w, "    "+storage.Join(output, p))
	}
}

//go:embed continual.html.tmpl
var learnedPage string

var learnedTemplate = template.Must(template.New("continual").Funcs(template.FuncMap{"style": report.Style, "ppl": perplexity,
	"names": func(x continual.Increment) string { return names(x, 200) },
	"words": func(s string) string { return strings.ReplaceAll(s, "_", " ") }}).Parse(learnedPage))

// learnedHTML is the self-contained report: perplexities by increment as a plot and a table.
func learnedHTML(h *continual.History) ([]byte, error) {
	svg, err := learnedPlot(h)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = learnedTemplate.Execute(&page, map[string]any{"H": h, "Plot": svg})
	return page.Bytes(), err
}

// learnedPlot draws the perplexities of the versions as lines; increments that were rolled back are crosses beside them.
func learnedPlot(h *continual.History) (template.HTML, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "perplexity by increment (crosses: rolled back)", "increment", "perplexity"
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	var errs []error
	high := 0.0
	for _, set := range []struct {
		name  string
		color color.Color
		of    func(continual.Scores) *continual.Score
	}{
		{"domain", color.RGBA{R: 31, G: 119, B: 180, A: 255}, func(s continual.Scores) *continual.Score { return s.Domain }},
		{"general", color.RGBA{R: 214, G: 39, B: 40, A: 255}, func(s continual.Scores) *continual.Score { return s.General }},
	} {
		var kept, dropped plotter.XYs
		if s := set.of(h.Base); s != nil {
			kept = append(kept, plotter.XY{Y: s.Perplexity})
		}
		for _, x := range h.Increments {
			s := set.of(x.After)
			if s == nil || s.Perplexity > maxDrawn {
				continue
			}
			at := plotter.XY{X: float64(x.Number), Y: s.Perplexity}
			if x.Decision == continual.Accepted {
				kept = append(kept, at)
			} else {
				dropped = append(dropped, at)
			}
		}
		for _, xy := range append(kept[:len(kept):len(kept)], dropped...) {
			high = max(high, xy.Y)
		}
		if len(kept) > 0 {
			line, points, err := plotter.NewLinePoints(kept)
			if err == nil {
				line.Color, points.Color, points.Shape, points.Radius = set.color, set.color, draw.CircleGlyph{}, vg.Points(2.5)
				p.Add(line, points)
				p.Legend.Add(set.name, line, points)
			}
			errs = append(errs, err)
		}
		if len(dropped) > 0 {
			crosses, err := plotter.NewScatter(dropped)
			if err == nil {
				crosses.Color, crosses.Shape, crosses.Radius = set.color, draw.CrossGlyph{}, vg.Points(5)
				p.Add(crosses)
			}
			errs = append(errs, err)
		}
	}
	n := float64(max(len(h.Increments), 1))
	if limit := h.GeneralLimit; limit > 0 && limit < maxDrawn {
		line, err := plotter.NewLine(plotter.XYs{{X: 0, Y: limit}, {X: n, Y: limit}})
		if err == nil {
			line.Dashes, line.Color = []vg.Length{vg.Points(4), vg.Points(3)}, color.Gray{Y: 90}
			p.Add(line)
			p.Legend.Add("limit of general", line)
			high = max(high, limit)
		}
		errs = append(errs, err)
	}
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, n, 0, 1.15*max(high, 1)
	if err := errors.Join(errs...); err != nil {
		return "", err
	}
	return report.Picture(p, 8*vg.Inch, 4.5*vg.Inch) // drawn from numbers alone
}

// maxDrawn is the perplexity above which a point is not drawn: a diverged increment's would hide the others.
const maxDrawn = 1e5

// inspectHistory describes the folder of a run of continual learning.
func inspectHistory(path string) ([]report.Fact, error) {
	h, err := continual.ReadHistory(filepath.Join(path, HistoryFile))
	if err != nil {
		return nil, err
	}
	facts := report.Facts("continual learning", path, "increments", len(h.Increments))
	if c := h.Current(); c != nil {
		facts = append(facts, report.NewFact("version in use", filepath.Join(path, c.Adapter)))
	}
	l := &learner{history: h}
	facts = append(facts, report.NewFact("base", fmt.Sprintf("domain %s, general %s", perplexity(h.Base.Domain),
		perplexity(h.Base.General))))
	for i := range h.Increments {
		x := &h.Increments[i]
		facts = append(facts, report.NewFact(names(*x, 60), l.line(x)))
	}
	return facts, nil
}
