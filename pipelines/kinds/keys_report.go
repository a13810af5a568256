package kinds

import (
	"bytes"
	"cmp"

	"github.com/adaptflow/adaptflow/pipelines/run"

	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/transforms/perkey"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// The files of a run by key.
const (
	KeysFile   = "keys.json"
	ForgetFile = "forget.json" // ids of documents that are left out: see Forget
)

// KeyRuns is what training by key gave.
type KeyRuns struct {
	Keys    []perkey.Result `json:"keys"` // by key
	Trained int             `json:"trained"`
	Skipped map[string]int  `json:"skipped"` // by reason
	// Before and After are the mean negative log-likelihoods over all held-out tokens of trained keys, Improved the keys whose own fell.
	EvalTokens int              `json:"eval_tokens"`
	Before     float64          `json:"eval_nll_before"`
	After      float64          `json:"eval_nll_after"`
	Improved   int              `json:"improved"`
	Scored     int              `json:"scored"` // keys with held-out text
	Tokens     int64            `json:"tokens"`
	Seconds    float64          `json:"seconds"` // of this run; keys that were finished before cost none
	PeakRSS    int64            `json:"peak_rss_bytes"`
	Forgotten  []string         `json:"forgotten,omitempty"`
	Funnel     []prepare.Stage  `json:"funnel"`
	Overlap    []report.Overlap `json:"overlap,omitempty"` // of what is measured on with what is trained on
	Paths      []string         `json:"paths"`
}

// sum fills in what follows from the keys' results.
func (k *KeyRuns) sum() {
	for _, x := range k.Keys {
		if x.Skipped != "" {
			k.Skipped[x.Skipped]++
			continue
		}
		k.Trained++
		k.Tokens += x.Tokens
		if x.EvalTokens == 0 {
			continue
		}
		k.Scored++
		if x.After < x.Before {
			k.Improved++
		}
		n := float64(x.EvalTokens)
		k.EvalTokens, k.Before, k.After = k.EvalTokens+x.EvalTokens, k.Before+n*x.Before, k.After+n*x.After
	}
	n := float64(max(k.EvalTokens, 1))
	k.Before, k.After = k.Before/n, k.After/n
}

// ranked are the scored keys, the largest gain first.
func (k *KeyRuns) ranked() []perkey.Result {
	var out []perkey.Result
	for _, x := range k.Keys {
		if x.Skipped == "" && x.EvalTokens > 0 {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b perkey.Result) int { return cmp.Compare(a.After-a.Before, b.After-b.Before) })
	return out
}

// Table prints the summary for a person.
func (k *KeyRuns) Table(w io.Writer, output string) {
	row := func(name, value string) { fmt.Fprintf(w, "  %-24s %s\n", name, value) }
	fmt.Fprintln(w)
	row("keys trained", fmt.Sprintf("%d of %d", k.Trained, len(k.Keys)))
	for _, why := range slices.Sorted(maps.Keys(k.Skipped)) {
		row("  "+why, fmt.Sprint(k.Skipped[why]))
	}
	if len(k.Forgotten) > 0 {
		row("documents forgotten", fmt.Sprint(len(k.Forgotten)))
	}
	if k.Scored > 0 {
		row("keys that improved", fmt.Sprintf("%d of %d with held-out text", k.Improved, k.Scored))
		fmt.Fprintf(w, "\n  %-40s %10s %10s %10s\n  %s\n", "held-out perplexity", "before", "after", "change",
			"-------------------------------------------------------------------------")
		line := func(name string, b, a float64) {
			if r := []rune(name); len(r) > 38 {
				name = string(r[:37]) + "…"
			}
			fmt.Fprintf(w, "  %-40s %10.2f %10.2f %+8.1f %%\n", name, math.Exp(b), math.Exp(a), 100*(math.Exp(a-b)-1))
		}
		line("all keys", k.Before, k.After)
		best := k.ranked()
		for i, x := range best {
			if i < 3 || i >= len(best)-3 {
				line("  "+x.Key, x.Before, x.After)
			} else if i == 3 {
				fmt.Fprintln(w, "    …")
			}
		}
	}
	fmt.Fprintln(w)
	for _, o := range k.Overlap {
		row("warning", o.String())
	}
	row("tokens trained on", fmt.Sprint(k.Tokens))
	row("seconds", fmt.Sprintf("%.1f", k.Seconds))
	row("peak memory", fmt.Sprintf("%d MiB", k.PeakRSS>>20))
	fmt.Fprintf(w, "\n  written to %s:\n", output)
	for _, p := range k.Paths {
		fmt.Fprintln(w, "    "+storage.Join(output, p))
	}
}

//go:embed keys.html.tmpl
var keysPage string

var keysTemplate = template.Must(template.New("keys").Funcs(template.FuncMap{"style": report.Style, "ppl": math.Exp,
	"change": func(a, b float64) float64 { return 100 * (math.Exp(a-b) - 1) }}).Parse(keysPage))

// html is the self-contained report: each key's held-out perplexity before and after, as a plot and a table.
func (k *KeyRuns) html() ([]byte, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = "held-out perplexity of each key (below the line: improved)", "before", "after"
	var xy plotter.XYs
	high := 0.0
	ranked := k.ranked()
	for _, x := range ranked {
		b, a := math.Exp(x.Before), math.Exp(x.After)
		xy, high = append(xy, plotter.XY{X: b, Y: a}), max(high, a, b)
	}
	p.Add(plotter.NewGrid())
	if len(xy) > 0 {
		points, err := plotter.NewScatter(xy)
		if err != nil {
			return nil, err
		}
		points.Shape, points.Radius = draw.CircleGlyph{}, vg.Points(2.5)
		same, err := plotter.NewLine(plotter.XYs{{}, {X: high, Y: high}})
		if err != nil {
			return nil, err
		}
		p.Add(same, points)
	}
	svg, err := report.Picture(p, 6*vg.Inch, 5*vg.Inch) // drawn from numbers alone
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = keysTemplate.Execute(&page, map[string]any{"K": k, "Ranked": ranked, "Plot": svg})
	return page.Bytes(), err
}

// inspectKeys describes a finished run by key: which folder is whose.
func inspectKeys(path string) ([]report.Fact, error) {
	raw, err := storage.ReadFile(filepath.Join(path, KeysFile))
	if err != nil {
		return nil, err
	}
	var k KeyRuns
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(path, KeysFile), err)
	}
	facts := report.Facts("finished run by key", path, "keys", len(k.Keys), "trained", k.Trained, "tokens", k.Tokens)
	for _, x := range k.Keys {
		to := x.Skipped
		if to == "" {
			to = filepath.Join(run.AdapterDir+"s", x.Dir)
		}
		facts = append(facts, report.NewFact(fmt.Sprintf("key %q", x.Key), to))
	}
	return facts, nil
}
