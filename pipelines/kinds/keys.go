package kinds

import (
	"bytes"
	"context"

	"github.com/adaptflow/adaptflow/pipelines/run"

	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/perkey"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// keysKind trains an adapter for each key of the data.
var keysKind = Kind{
	Name:    "adapters by key",
	When:    func(r *recipe.Recipe) bool { return r.Data.KeyColumn != "" },
	Summary: KeysFile,
	Run: func(ctx context.Context, r *run.Run, _ Options) (Outcome, error) {
		k, err := trainKeys(ctx, r)
		return keysOutcome(r, k, err)
	},
	Export: func(r *run.Run) error {
		return fmt.Errorf("a run by key writes an adapter for each key as it trains: see %s", r.Product(run.AdapterDir+"s"))
	},
	Forgets: &Forgetting{Affected: affected, Forget: func(ctx context.Context, r *run.Run, docs []string) (Outcome, error) {
		k, err := forget(ctx, r, docs)
		return keysOutcome(r, k, err)
	}},
	Shown: Shown{By: KeysFile, Facts: inspectKeys},
}

func keysOutcome(r *run.Run, k *KeyRuns, err error) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	return Outcome{Summary: k, Bad: r.Bad(k.Funnel)}, nil
}

// trainKeys trains an adapter for each key of the recipe's data and returns the summary. A finished run only reads it; an interrupted one
// trains the keys that are left.
func trainKeys(ctx context.Context, r *run.Run) (*KeyRuns, error) {
	path := filepath.Join(r.Output, KeysFile)
	if raw, err := storage.ReadSmall(path, storage.KindState); err == nil {
		out := &KeyRuns{}
		if err := json.Unmarshal(raw, out); err != nil {
			return nil, fmt.Errorf("%s: %w: delete it, and what is missing is made again", path, err)
		}
		if done, err := keysFinished(r, out); done || err != nil {
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
	job, err := r.Job(&run.Data{Train: &prepare.Result{}})
	if err != nil {
		return nil, err
	}
	forgotten, err := forgotten(r)
	if err != nil {
		return nil, err
	}
	cfg := perkey.Config{Job: job, OutDir: filepath.Join(r.Output, run.AdapterDir+"s"), WorkDir: filepath.Join(r.Output, ".staged-keys"),
		RejectsDir: r.Product(run.RejectsDir),
		Keys:       r.Recipe.Keys, Forget: forgotten, Version: version.Version}
	if cfg.InitAdapters != "" {
		if _, err := os.Stat(cfg.InitAdapters); err != nil {
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
			r.Tell("%d keys trained", done)
		}
	})()
	defer train.Drive(ctx, cfg.OutDir)()
	p, s := runners.NewPipeline()
	end.Of(s, perkey.Train(s, cfg, perkey.FromShards(s, shards)))
	if err := r.Runner.Run(ctx, p, "adaptflow-keys"); err != nil {
		return nil, err
	}
	out := &KeyRuns{Skipped: map[string]int{}, Forgotten: forgotten, Funnel: d.Train.Funnel, Overlap: d.Overlap,
		Seconds: time.Since(start).Seconds(), PeakRSS: mem.HighWater(),
		Paths: []string{run.AdapterDir + "s", "shards", KeysFile, report.File, run.RecipeFile}}
	if out.Keys, err = perkey.Results(cfg.WorkDir); err != nil {
		return nil, err
	}
	out.sum()
	if len(out.Keys) == 0 || out.Trained == 0 {
		var why []string
		for _, k := range slices.Sorted(maps.Keys(out.Skipped)) {
			why = append(why, fmt.Sprintf("%s: %d", k, out.Skipped[k]))
		}
		return nil, fmt.Errorf("no key was trained of %d (%s); see %s, and keys.min_sequences and data.key_column", len(out.Keys),
			strings.Join(why, ", "), cfg.RejectsDir)
	}
	if len(out.Skipped) > 0 {
		out.Paths = append(out.Paths, run.RejectsDir)
	}
	page, err := out.html()
	if err != nil {
		return nil, err
	}
	if err := storage.WriteFile(filepath.Join(r.Output, report.File), page); err != nil {
		return nil, err
	}
	written := *out
	if written.Keys = perkey.Measured(out.Keys); out.EvalTokens == 0 { // null: nothing was measured
		written.Before, written.After = math.NaN(), math.NaN()
	}
	if err := errors.Join(storage.WriteJSON(path, written), os.RemoveAll(cfg.WorkDir)); err != nil {
		return nil, err
	}
	return out, r.Publish()
}

// keysFinished says whether the parts of a finished run by key are there; the report is written again where it is missing. The adapters of
// keys that lack something are trained again, to the same bytes.
func keysFinished(r *run.Run, k *KeyRuns) (bool, error) {
	done := true
	for i := range k.Keys {
		if why := k.Keys[i].Broken(filepath.Join(r.Output, run.AdapterDir+"s")); why != "" {
			dir := r.Product(run.AdapterDir+"s", k.Keys[i].Dir)
			r.Tell("this run is finished, but the folder %s of the key %q %s: it is made again", dir, k.Keys[i].Key, why)
			done = false
		}
	}
	if _, err := os.Stat(filepath.Join(r.Output, report.File)); errors.Is(err, fs.ErrNotExist) && done {
		r.Tell("this run is finished, but %s is missing: it is made again", r.Product(report.File))
		page, err := k.html()
		if err != nil {
			return false, err
		}
		if err := storage.WriteFile(filepath.Join(r.Output, report.File), page); err != nil {
			return false, err
		}
	}
	_, why, err := r.BrokenShards("train")
	if err != nil {
		return false, err
	}
	if done = done && why == ""; done {
		r.Tell("this run is finished: %s", r.Product())
	}
	return done, nil
}

// forgotten are the ids of the documents that are left out of a run.
func forgotten(r *run.Run) (ids []string, err error) {
	raw, err := storage.ReadSmall(filepath.Join(r.Output, ForgetFile), storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &ids)
	}
	return ids, err
}

// affected are the keys of a run by key whose adapters were trained on one of the documents, and the documents that none was trained on.
func affected(output string, docs []string) (keys, unknown []string, err error) {
	files, err := filepath.Glob(filepath.Join(output, run.AdapterDir+"s", "*", perkey.LineageFile))
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

// forget leaves documents out of a run by key from now on and trains the keys again that were trained on them, no others. The keys' folders
// and the shards stay; the shards are the user's to delete.
func forget(ctx context.Context, r *run.Run, docs []string) (*KeyRuns, error) {
	ids, err := forgotten(r)
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
	return trainKeys(ctx, r)
}
