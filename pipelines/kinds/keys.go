package kinds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/run"
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
	Afar:    true,
	Run: func(ctx context.Context, r *run.Run, _ Options) (Outcome, error) {
		k, err := trainKeys(ctx, r)
		return keysOutcome(r, k, err)
	},
	DryRun: dryRunKeys,
	Export: func(_ context.Context, r *run.Run) error {
		return fmt.Errorf("a run by key writes an adapter for each key as it trains: see %s", r.Product(run.AdapterDir+"s"))
	},
	Asks: func(r *recipe.Recipe, output string) []string {
		return []string{"serve", "--model", r.Model.Path, "--adapters", filepath.Join(output, run.AdapterDir+"s")}
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
	ctx, release := r.UnderLease(ctx)
	defer release()
	path := r.Product(KeysFile)
	if raw, err := storage.ReadSmall(path, storage.KindState); err == nil {
		out := &KeyRuns{}
		if err := json.Unmarshal(raw, out); err != nil {
			return nil, fmt.Errorf("%s: %w: delete it, and what is missing is made again", path, err)
		}
		if done, err := keysFinished(ctx, r, out); done || err != nil {
			return out, err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var err error
	if r.Forgotten, err = forgotten(r); err != nil {
		return nil, err
	}
	d, err := r.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	mem.Heap(ctx, 50, 0) // weights and activations lie outside the heap
	cfg, err := keysConfig(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := cleanKeys(ctx, r, cfg.WorkDir); err != nil {
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
	if err := r.Unrecord(keysWeights); err != nil { // what is known of them is of before
		return nil, err
	}
	if err := runKeys(ctx, r, cfg, shards); err != nil {
		return nil, err
	}
	out := &KeyRuns{Skipped: map[string]int{}, Forgotten: cfg.Forget, Funnel: d.Train.Funnel, Overlap: d.Overlap,
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
	if r.Elsewhere() {
		if err := errors.Join(r.Held(), perkey.Publish(ctx, out.Keys, cfg.OutDir, cfg.WorkDir, r.BaseName())); err != nil {
			return nil, err
		}
		if _, err := run.Record(r, keysWeights, func() (perkey.Files, error) { return perkey.Weights(ctx, cfg.OutDir) }); err != nil {
			return nil, err
		}
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
	if err := storage.WriteJSON(filepath.Join(r.Output, KeysFile), written); err != nil {
		return nil, err
	}
	if !r.Elsewhere() { // at a location publishing removes it
		if err := os.RemoveAll(cfg.WorkDir); err != nil {
			return nil, err
		}
	}
	return out, r.Publish()
}

// stagedKeys is the folder of the keys' sequences while they are trained.
const stagedKeys = ".staged-keys"

// keysWeights is the record of the weights of a finished run by key at a location, as the store listed them.
const keysWeights = "keys-weights"

// keysConfig is the settings of training the recipe's keys.
func keysConfig(ctx context.Context, r *run.Run) (cfg perkey.Config, err error) {
	job, err := r.Job(&run.Data{Train: &prepare.Result{}})
	if err != nil {
		return cfg, err
	}
	forgotten, err := forgotten(r)
	if err != nil {
		return cfg, err
	}
	cfg = perkey.Config{Job: job, OutDir: r.Product(run.AdapterDir + "s"), WorkDir: r.WorkPath(stagedKeys),
		RejectsDir: r.Product(run.RejectsDir),
		Keys:       r.Recipe.Keys, Forget: forgotten, Version: version.Version}
	if cfg.InitAdapters = r.Fetched(cfg.InitAdapters); cfg.InitAdapters != "" {
		if _, err := os.Stat(cfg.InitAdapters); err != nil {
			return cfg, fmt.Errorf("keys.init_adapters: %w", err)
		}
	}
	if !r.Elsewhere() {
		return cfg, nil
	}
	if len(forgotten) > 0 { // what a lost driver's workers still write must not come among it
		cfg.WorkDir += "-" + storage.SHA256([]byte(strings.Join(forgotten, "\n")))[:16]
	}
	if cfg.Job, err = r.ForWorkers(ctx, job); err != nil {
		return cfg, err
	}
	cfg.Job.BaseName = peft.BaseMark
	cfg.InitAdapters, err = r.Shared(ctx, cfg.InitAdapters)
	return cfg, err
}

// cleanKeys removes what an interrupted run has left in the work folder: at a location the results alone, since finished keys' texts are
// needed.
func cleanKeys(ctx context.Context, r *run.Run, work string) error {
	if !r.Elsewhere() {
		return os.RemoveAll(work)
	}
	// What an earlier version left on this machine would be published.
	return errors.Join(perkey.ForgetResults(ctx, work), os.RemoveAll(filepath.Join(r.Output, run.AdapterDir+"s")))
}

// runKeys trains the keys of shards.
func runKeys(ctx context.Context, r *run.Run, cfg perkey.Config, shards []perkey.ShardRef) error {
	p, s := runners.NewPipeline()
	end.Of(s, perkey.Train(s, cfg, perkey.FromShards(s, shards)))
	return r.Runner.Run(ctx, p, "adaptflow-keys")
}

// dryRunKeys writes the job that trains the keys of a shard, which is a name.
func dryRunKeys(ctx context.Context, r *run.Run) error {
	cfg, err := keysConfig(ctx, r)
	if err != nil {
		return err
	}
	return runKeys(ctx, r, cfg, []perkey.ShardRef{{Path: "shards/train-00000-of-00001.parquet"}})
}

// keysFinished says whether the parts of a finished run by key are there; the report is written again where it is missing. The adapters of
// keys that lack something are trained again, to the same bytes.
func keysFinished(ctx context.Context, r *run.Run, k *KeyRuns) (bool, error) {
	done, out := true, r.Product(run.AdapterDir+"s")
	broken := func(x *perkey.Result) (string, error) { return x.Broken(out), nil }
	if r.Elsewhere() {
		var err error
		if broken, err = brokenAt(ctx, r, out); err != nil {
			return false, err
		}
	}
	for i := range k.Keys {
		why, err := broken(&k.Keys[i])
		if err != nil {
			return false, err
		}
		if why != "" {
			dir := r.Product(run.AdapterDir+"s", k.Keys[i].Dir)
			r.Tell("this run is finished, but the folder %s of the key %q %s: it is made again", dir, k.Keys[i].Key, why)
			done = false
		}
	}
	if ok, err := storage.Exists(r.Product(report.File)); err != nil {
		return false, err
	} else if !ok && done {
		r.Tell("this run is finished, but %s is missing: it is made again", r.Product(report.File))
		page, err := k.html()
		if err != nil {
			return false, err
		}
		if err := storage.WriteFile(r.Product(report.File), page); err != nil {
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

// brokenAt returns what says what is wrong with a key's folder in the folder out at a location. What makes a folder with damaged weights
// finished is removed, so that the key is trained again.
func brokenAt(ctx context.Context, r *run.Run, out string) (func(*perkey.Result) (string, error), error) {
	there, err := perkey.ListFolders(ctx, out)
	if err != nil {
		return nil, err
	}
	var was perkey.Files // none of a run that an earlier version finished
	raw, err := storage.ReadSmall(r.RecordPath(keysWeights), storage.KindState)
	if err == nil {
		err = json.Unmarshal(raw, &was)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return func(x *perkey.Result) (string, error) {
		if why := x.Lacks(there); why != "" {
			return why, nil
		}
		why, err := x.Damaged(out, there, was)
		if err == nil && why != "" {
			err = errors.Join(r.Held(), storage.Remove(storage.Join(out, x.Dir, perkey.MetricsFile)))
		}
		return why, err
	}, nil
}
