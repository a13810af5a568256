package perkey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/watch"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

// GroupFn trains a group of keys and writes their folders.
type GroupFn struct{ Config string }

// training lets one group of the process train at a time: each takes all threads.
var training sync.Mutex

var watched watch.Runs[*Result]

// Watch has see called with each result that groups of this process give, of the run that writes its adapters to the folder out, or of
// every run where out is "", until stop is called.
func Watch(out string, see func(*Result)) (stop func()) { return watched.Watch(out, see) }

// ProcessElement trains one group and emits the keys' results.
func (f *GroupFn) ProcessElement(ctx context.Context, raw string, emit func(string)) error {
	var cfg Config
	var specs []spec
	if err := errors.Join(json.Unmarshal([]byte(f.Config), &cfg), json.Unmarshal([]byte(raw), &specs)); err != nil {
		return err
	}
	if err := cfg.pull(ctx); err != nil {
		return err
	}
	results, err := trainGroup(&cfg, specs)
	if err != nil {
		return err
	}
	for i := range results {
		meter.Add(ctx, map[bool]meter.Counter{true: meter.KeysTrained, false: meter.KeysFailed}[results[i].Skipped == ""], 1)
		out, err := storage.MarshalJSON(&results[i], "")
		if err != nil {
			return err
		}
		emit(string(out))
	}
	return nil
}

// trainGroup trains the keys together, or one after another where their adapters cannot share a pass.
func trainGroup(cfg *Config, specs []spec) (out []Result, err error) {
	training.Lock()
	defer training.Unlock()
	j := &cfg.Job
	if err := kernels.Same(j.KernelSet); err != nil {
		return nil, err
	}
	err = train.UseBase(cfg.OutDir, j, func(m *model.Model) error {
		for len(specs) > 0 {
			a, err := train.OpenAdapter(m, "", j.Method, j.Config, j.BaseName, j.Args.Seed)
			if err != nil {
				return err
			}
			n := len(specs)
			if !train.Groupable(a) {
				n = 1
			}
			rs, err := trainTogether(cfg, m, a, specs[:n])
			if err != nil {
				return err
			}
			out, specs = append(out, rs...), specs[n:]
		}
		return nil
	})
	return out, err
}

func trainTogether(cfg *Config, m *model.Model, a *peft.Adapter, specs []spec) ([]Result, error) {
	j := &cfg.Job
	p := pool.New(j.Threads)
	defer p.Close()
	params := nn.NewParams(len(specs))
	defer params.Free()
	var jobs []train.KeyJob
	for _, sp := range specs {
		data, err := train.OpenShards([]string{sp.Path})
		if err != nil {
			return nil, err
		}
		defer data.Within(m.Config.Vocab).Close()
		job := train.KeyJob{Key: sp.Key, Data: data, Tokens: sp.Tokens}
		if sp.Init != "" {
			dir := filepath.Join(cfg.InitAdapters, sp.Init)
			if job.Init, err = train.OpenAdapter(m, dir, "", nil, j.BaseName, j.Args.Seed); err != nil {
				return nil, fmt.Errorf("key %q: %w", sp.Key, err)
			}
		}
		jobs = append(jobs, job)
	}
	objective, err := j.OpenObjective(m, p)
	if err != nil {
		return nil, err
	}
	defer train.CloseObjective(objective)
	limit, err := train.ProgramLimit(j.MemoryLimit, train.ProcessBytes(m), m, train.CostOf(objective, m, j.SequenceLength))
	if err != nil {
		return nil, err
	}
	runs, err := train.TrainKeys(j.Args, train.Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p,
		Objective: objective, MemoryLimit: limit, DType: train.Values(j.DType),
		Interrupted: func() bool { return train.Interrupted(cfg.OutDir) }}, jobs)
	if err != nil {
		return nil, err
	}
	score, err := train.NewScorer(m, []nn.Adapter{a}, params, p, max(j.SequenceLength, 1024))
	if err != nil {
		return nil, err
	}
	defer score.Close()
	var out []Result
	for i, sp := range specs {
		r := Result{Key: sp.Key, Dir: sp.Dir, Sequences: sp.Sequences, Steps: runs[i].Steps, Tokens: runs[i].Tokens, Loss: runs[i].Loss,
			Warm: sp.Init != "", Binding: sp.Binding}
		if runs[i].Err != nil {
			r.Dir, r.Skipped = "", runs[i].Err.Error()
		} else if err := finish(cfg, m, &sp, &r, a, params, i, score); err != nil {
			return nil, fmt.Errorf("key %q: %w", sp.Key, err)
		}
		watched.Tell(cfg.OutDir, &r)
		out = append(out, r)
	}
	return out, nil
}

// finish scores a key and writes its folder; metrics.json, which makes it finished, last.
func finish(cfg *Config, m *model.Model, sp *spec, r *Result, a *peft.Adapter, params *nn.Params, slot int, score *train.Scorer) error {
	if sp.Eval != "" {
		data, err := train.OpenShards([]string{sp.Eval})
		if err != nil {
			return err
		}
		defer data.Within(m.Config.Vocab).Close()
		var seqs []datasets.Sequence
		for i := range data.Len() {
			q, err := data.Sequence(i)
			if err != nil {
				return err
			}
			seqs = append(seqs, q)
		}
		before, n, err := score.SlotNLL(seqs, -1)
		if err != nil {
			return err
		}
		after, _, err := score.SlotNLL(seqs, slot)
		if err != nil && strings.Contains(err.Error(), "not finite") { // the key's own training: the others are none the worse
			r.Dir, r.Skipped = "", fmt.Sprintf("%v: lower learning_rate or raise warmup_steps", err)
			return nil
		}
		if err != nil {
			return err
		}
		r.EvalTokens, r.Before, r.After = n, before/float64(max(n, 1)), after/float64(max(n, 1))
	}
	trained, err := train.TrainedCount(&cfg.Job.Args, a)
	if err != nil {
		return err
	}
	card := peft.Card{Title: sp.Key, Version: cfg.Version, Trained: trained,
		Summary: fmt.Sprintf("The adapter of the key `%s`, one of several that were trained over one base model.", sp.Key),
		Training: [][2]string{{"steps", fmt.Sprint(r.Steps)}, {"sequences", fmt.Sprint(r.Sequences)}, {"tokens", fmt.Sprint(r.Tokens)},
			{"learning_rate", fmt.Sprint(cfg.Job.Args.LearningRate)}, {"seed", fmt.Sprint(cfg.Job.Args.Seed)}}}
	if r.EvalTokens > 0 {
		card.Results = [][2]string{{"held-out loss", fmt.Sprintf("%.4f before, %.4f after, of %d tokens", r.Before, r.After, r.EvalTokens)}}
	}
	save := func(dir string) error {
		if err := a.Save(dir, params, slot, card); err != nil {
			return err
		}
		return describe(dir, sp, r)
	}
	if cfg.elsewhere() {
		return cfg.saveAt(sp, r, save)
	}
	dir := storage.Join(cfg.OutDir, r.Dir)
	for _, name := range []string{MetricsFile, LineageFile} { // a folder without metrics.json is unfinished
		if err := storage.Remove(storage.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := save(dir); err != nil {
		return err
	}
	return discard(cfg.OutDir, sp.Stale)
}

// describe writes into an adapter's folder what it was trained on and its result.
func describe(dir string, sp *spec, r *Result) (err error) {
	if r.SHA256, err = peft.TensorSum(dir); err != nil {
		return err
	}
	var lines []byte
	if err := eachDocument(sp, func(d Document) error {
		b, err := json.Marshal(&d)
		lines = append(append(lines, b...), '\n')
		return err
	}); err != nil {
		return err
	}
	if err := storage.WriteFile(storage.Join(dir, LineageFile), lines); err != nil {
		return err
	}
	return storage.WriteJSON(storage.Join(dir, MetricsFile), r.measured())
}
