package pipelines

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/end"
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
	EvalTokens int             `json:"eval_tokens"`
	Before     float64         `json:"eval_nll_before"`
	After      float64         `json:"eval_nll_after"`
	Improved   int             `json:"improved"`
	Scored     int             `json:"scored"` // keys with held-out text
	Tokens     int64           `json:"tokens"`
	Seconds    float64         `json:"seconds"` // of this run; keys that were finished before cost none
	PeakRSS    int64           `json:"peak_rss_bytes"`
	Forgotten  []string        `json:"forgotten,omitempty"`
	Funnel     []prepare.Stage `json:"funnel"`
	Overlap    []Overlap       `json:"overlap,omitempty"` // of what is measured on with what is trained on
	Paths      []string        `json:"paths"`
}

// ByKey says whether a recipe trains an adapter for each key.
func ByKey(r *recipe.Recipe) bool { return r.Data.KeyColumn != "" }

// keyColumn is the key column of a set of input files: general text has none.
func (r *Run) keyColumn(set string) string {
	if set == "general" {
		return ""
	}
	return r.Recipe.Data.KeyColumn
}

// TrainKeys trains an adapter for each key of the recipe's data and returns the summary. A finished run only reads it; an interrupted one trains
// the keys that are left.
func (r *Run) TrainKeys(ctx context.Context) (*KeyRuns, error) {
	path := filepath.Join(r.Output, KeysFile)
	if raw, err := storage.ReadSmall(path, storage.KindState); err == nil {
		out := &KeyRuns{}
		if err := json.Unmarshal(raw, out); err != nil {
			return nil, fmt.Errorf("%s: %w: delete it, and what is missing is made again", path, err)
		}
		if done, err := r.keysFinished(out); done || err != nil {
			return out, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d, err := r.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	mem.Heap(ctx, 50, 0) // weights and activations lie outside the heap
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return nil, err
	}
	forgotten, err := r.forgotten()
	if err != nil {
		return nil, err
	}
	k := r.Recipe.Keys
	cfg := perkey.Config{Job: job, OutDir: filepath.Join(r.Output, AdapterDir+"s"), WorkDir: filepath.Join(r.Output, ".staged-keys"), RejectsDir: r.product(RejectsDir),
		InitDir: k.InitAdapters, MinSequences: k.MinSequences, GroupKeys: k.GroupKeys, GroupTokens: k.GroupTokens, Forget: forgotten, Version: version.Version}
	if cfg.InitDir != "" {
		if _, err := os.Stat(cfg.InitDir); err != nil {
			return nil, fmt.Errorf("keys.init_adapters: %w", err)
		}
	}
	if err := os.RemoveAll(cfg.WorkDir); err != nil {
		return nil, err
	}
	var shards []perkey.ShardRef
	for _, s := range d.Train.Train {
		shards = append(shards, perkey.ShardRef{Path: s.Path})
	}
	for _, s := range d.Domain {
		shards = append(shards, perkey.ShardRef{Path: s.Path, Eval: true})
	}
	done := 0
	defer perkey.Watch(cfg.OutDir, func(*perkey.Result) {
		if done++; done%25 == 0 {
			r.say("%d keys trained", done)
		}
	})()
	p, s := runners.NewPipeline()
	end.Of(s, perkey.Train(s, cfg, perkey.FromShards(s, shards)))
	if err := r.Runner.Run(ctx, p, "adaptflow-keys-"+filepath.Base(r.Output)); err != nil {
		return nil, err
	}
	out := &KeyRuns{Skipped: map[string]int{}, Forgotten: forgotten, Funnel: d.Train.Funnel, Overlap: d.Overlap, Seconds: time.Since(start).Seconds(), PeakRSS: peak(),
		Paths: []string{AdapterDir + "s", "shards", KeysFile, ReportFile, RecipeFile}}
	if out.Keys, err = perkey.Results(cfg.WorkDir); err != nil {
		return nil, err
	}
	out.sum()
	if len(out.Keys) == 0 || out.Trained == 0 {
		var why []string
		for _, k := range sortedKeys(out.Skipped) {
			why = append(why, fmt.Sprintf("%s: %d", k, out.Skipped[k]))
		}
		return nil, fmt.Errorf("no key was trained of %d (%s); see %s, and keys.min_sequences and data.key_column", len(out.Keys), strings.Join(why, ", "), cfg.RejectsDir)
	}
	if len(out.Skipped) > 0 {
		out.Paths = append(out.Paths, RejectsDir)
	}
	page, err := out.html()
	if err != nil {
		return nil, err
	}
	if err := storage.WriteFile(filepath.Join(r.Output, ReportFile), page); err != nil {
		return nil, err
	}
	written := *out
	if written.Keys = perkey.Measured(out.Keys); out.EvalTokens == 0 { // null: nothing was measured
		written.Before, written.After = math.NaN(), math.NaN()
	}
	if err := errors.Join(storage.WriteJSON(path, written), os.RemoveAll(cfg.WorkDir)); err != nil {
		return nil, err
	}
	return out, r.publish()
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
	for _, why := range sortedKeys(k.Skipped) {
		row("  "+why, fmt.Sprint(k.Skipped[why]))
	}
	if len(k.Forgotten) > 0 {
		row("documents forgotten", fmt.Sprint(len(k.Forgotten)))
	}
	if k.Scored > 0 {
		row("keys that improved", fmt.Sprintf("%d of %d with held-out text", k.Improved, k.Scored))
		fmt.Fprintf(w, "\n  %-40s %10s %10s %10s\n  %s\n", "held-out perplexity", "before", "after", "change", "-------------------------------------------------------------------------")
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

var keysTemplate = template.Must(template.New("keys").Funcs(template.FuncMap{"ppl": math.Exp,
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
	svg, err := picture(p, 6*vg.Inch, 5*vg.Inch) // drawn from numbers alone
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = keysTemplate.Execute(&page, map[string]any{"K": k, "Ranked": ranked, "Plot": svg})
	return page.Bytes(), err
}

func (r *Run) forgotten() (ids []string, err error) {
	raw, err := storage.ReadSmall(filepath.Join(r.Output, ForgetFile), storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &ids)
	}
	return ids, err
}

// Affected are the keys of a run by key whose adapters were trained on one of the documents, and the documents that none was trained on.
func Affected(output string, docs []string) (keys, unknown []string, err error) {
	files, err := filepath.Glob(filepath.Join(output, AdapterDir+"s", "*", perkey.LineageFile))
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, f := range files {
		raw, err := storage.ReadSmall(f, storage.KindState)
		if err != nil {
			return nil, nil, err
		}
		hit := false
		for d := json.NewDecoder(bytes.NewReader(raw)); ; {
			var doc perkey.Document
			if err := d.Decode(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", f, err)
			}
			if slices.Contains(docs, doc.ID) {
				hit, seen[doc.ID] = true, true
			}
		}
		if hit {
			x, err := perkey.ReadResult(filepath.Dir(f))
			if err != nil {
				return nil, nil, err
			}
			keys = append(keys, x.Key)
		}
	}
	for _, id := range docs {
		if !seen[id] {
			unknown = append(unknown, id)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), unknown, nil // one in two folders: its adapter is being replaced
}

// Forget leaves documents out of a run by key from now on and trains the keys again that were trained on them, no others. The keys' folders and
// the shards stay; the shards are the user's to delete.
func (r *Run) Forget(ctx context.Context, docs []string) (*KeyRuns, error) {
	ids, err := r.forgotten()
	if err != nil {
		return nil, err
	}
	ids = append(ids, docs...)
	slices.Sort(ids)
	raw, err := json.Marshal(slices.Compact(ids))
	if err != nil {
		return nil, err
	}
	if err := storage.WriteFile(filepath.Join(r.Output, ForgetFile), raw); err != nil {
		return nil, err
	}
	if err := storage.Remove(filepath.Join(r.Output, KeysFile)); err != nil {
		return nil, err
	}
	return r.TrainKeys(ctx)
}
