// Command curves draws the table that interop/bench/diloco.py wrote: perplexity against the inner steps H, a line for each number of
// replicas, a panel for each outer optimiser.
//
//	go run ./interop/bench/curves docs/diloco.json docs/diloco.svg
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/adaptflow/adaptflow/internal/storage"
)

// table is what diloco.py writes.
type table struct {
	Runs []run `json:"runs"`
}

// run is one run of the grid. OuterLR and Momentum are null where there is no outer optimiser: in mode sync, and of one replica.
type run struct {
	Replicas   int      `json:"replicas"`
	H          int      `json:"local_steps"`
	OuterLR    *float64 `json:"outer_lr"`
	Momentum   *float64 `json:"outer_momentum"`
	Perplexity float64  `json:"perplexity"`
}

func main() {
	if err := draws(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "curves: "+err.Error())
		os.Exit(1)
	}
}

func draws(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: curves TABLE.json PLOT.svg")
	}
	raw, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var t table
	if err := json.Unmarshal(raw, &t); err != nil {
		return fmt.Errorf("%s is not what diloco.py wrote: %w", args[0], err)
	}
	picture, err := t.draw()
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return storage.WriteFile(args[1], picture)
}

// draw draws a panel for each outer optimiser, in the order of the runs.
func (t *table) draw() ([]byte, error) {
	var outers [][2]float64
	var hs []float64
	low, high := math.Inf(1), 0.0
	for _, r := range t.Runs {
		low, high = min(low, r.Perplexity), max(high, r.Perplexity)
		if !slices.Contains(hs, float64(r.H)) {
			hs = append(hs, float64(r.H))
		}
		if r.OuterLR == nil || r.Momentum == nil {
			continue
		}
		if o := [2]float64{*r.OuterLR, *r.Momentum}; !slices.Contains(outers, o) {
			outers = append(outers, o)
		}
	}
	if len(outers) == 0 {
		return nil, errors.New("no run in mode local")
	}
	slices.Sort(hs)
	row := []*plot.Plot{}
	for _, o := range outers {
		p, err := t.panel(o, hs)
		if err != nil {
			return nil, err
		}
		p.Y.Min, p.Y.Max = low-0.03*(high-low), high+0.03*(high-low)
		row = append(row, p)
	}
	c := vgsvg.New(5*vg.Inch*vg.Length(len(row)), 3.6*vg.Inch)
	tiles := draw.Tiles{Rows: 1, Cols: len(row), PadX: vg.Millimeter * 4, PadTop: vg.Millimeter * 2, PadBottom: vg.Millimeter * 2,
		PadLeft: vg.Millimeter * 2, PadRight: vg.Millimeter * 2}
	for i, canvas := range plot.Align([][]*plot.Plot{row}, tiles, draw.New(c))[0] {
		row[i].Draw(canvas)
	}
	var b bytes.Buffer
	_, err := c.WriteTo(&b)
	return b.Bytes(), err
}

// panel draws the runs of one outer optimiser, and of mode sync at H = 1, over the places of hs.
func (t *table) panel(outer [2]float64, hs []float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("outer learning rate %g, momentum %g", outer[0], outer[1])
	p.X.Label.Text, p.Y.Label.Text = "inner steps H (1: sync)", "perplexity"
	p.X.Scale, p.X.Min, p.X.Max = plot.LogScale{}, hs[0]/1.1, hs[len(hs)-1]*1.1
	var ticks []plot.Tick
	for _, h := range hs {
		ticks = append(ticks, plot.Tick{Value: h, Label: strconv.Itoa(int(h))})
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = font.Points(9)
	p.Add(plotter.NewGrid())
	var replicas []int
	for _, r := range t.Runs {
		if !slices.Contains(replicas, r.Replicas) {
			replicas = append(replicas, r.Replicas)
		}
	}
	slices.Sort(replicas)
	for i, n := range replicas {
		var xy plotter.XYs
		for _, r := range t.Runs {
			if r.Replicas == n && (r.OuterLR == nil || *r.OuterLR == outer[0] && *r.Momentum == outer[1]) {
				xy = append(xy, plotter.XY{X: float64(r.H), Y: r.Perplexity})
			}
		}
		if len(xy) == 0 {
			continue
		}
		name := fmt.Sprintf("%d replicas", n)
		if n == 1 { // the same with every H
			name = "1 replica"
			xy = plotter.XYs{{X: hs[0], Y: xy[0].Y}, {X: hs[len(hs)-1], Y: xy[0].Y}}
		}
		slices.SortFunc(xy, func(a, b plotter.XY) int { return int(a.X - b.X) })
		line, points, err := plotter.NewLinePoints(xy)
		if err != nil {
			return nil, err
		}
		line.Color, points.Color, points.Shape = plotutil.Color(i), plotutil.Color(i), plotutil.Shape(i)
		if n == 1 {
			line.Dashes = plotutil.Dashes(1)
			p.Add(line)
			p.Legend.Add(name, line)
			continue
		}
		p.Add(line, points)
		p.Legend.Add(name, line, points)
	}
	return p, nil
}
