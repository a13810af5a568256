package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/recipe"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/pack"
)

func init() {
	register.DoFn2x2[context.Context, pack.ShardSet, AdapterRef, error](&AdapterFn{})
	beam.RegisterType(reflect.TypeFor[AdapterRef]())
}

// Settings say what [Adapter] trains: sections of a recipe, of which recipe.Default has what is not set.
type Settings struct {
	// Work is a folder that all workers see, or a location: the checkpoints are there, from which a retry, or the pipeline run again, goes
	// on.
	Work string
	// Model is the base: Path is a folder that every worker has, or a reference. Method has peft_type and the fields of HF PEFT's
	// configuration.
	Model  recipe.Model
	Method map[string]any
	Train  recipe.Train
	// BaseName is base_model_name_or_path of the adapter; "" for Model.Path.
	BaseName string
}

// AdapterRef is a reference to a trained adapter, which lies in a checkpoint.
type AdapterRef struct {
	Name  string `beam:"name"`  // that of its set of shards
	Model string `beam:"model"` // the base model, the method and where the checkpoints are: a train.Job without shards, as JSON
	Step  int64  `beam:"step"`  // of the checkpoint
	// Hash is the SHA-256 sum of the file of its values, hexadecimal.
	Hash   string  `beam:"hash"`
	Steps  int64   `beam:"steps"`  // optimiser steps that were made
	Tokens int64   `beam:"tokens"` // that were trained on
	Loss   float64 `beam:"loss"`   // of the last step
	// Classes are the names of a classifier's classes by number, a list as JSON; "" of others.
	Classes string `beam:"classes"`
}

// Open is where the adapter is: what [core.OpenTrained] takes.
func (r *AdapterRef) Open() (job core.Job, at core.Point, err error) {
	if err = json.Unmarshal([]byte(r.Model), &job); err != nil {
		err = fmt.Errorf("train: the adapter %q: %w", r.Name, err)
	}
	return job, core.Point{Step: int(r.Step)}, err
}

// Adapter trains an adapter on each set of shards (PCollection<pack.ShardSet>) and returns references to what is trained
// (PCollection<AdapterRef>). An adapter is trained by one worker, with the threads of its machine, and has the bytes that `adaptflow run`
// gives it with the same shards, settings and kernel set. A bundle that is tried again goes on from the last checkpoint, and so does a
// pipeline that is run again with the same Work; both end with the same bytes. Settings that a recipe would refuse panic.
func Adapter(s beam.Scope, set Settings, shards beam.PCollection) beam.PCollection {
	job, err := set.job(nil)
	if err != nil {
		panic(fmt.Errorf("train.Adapter: %w", err))
	}
	raw, err := json.Marshal(&job)
	if err != nil {
		panic(fmt.Errorf("train.Adapter: %w", err))
	}
	s = s.Scope("train.Adapter")
	return beam.ParDo(s, &AdapterFn{Job: string(raw), Work: set.Work}, beam.Reshuffle(s, shards))
}

// job is what does not depend on the shards. with, where not nil, says more of the recipe that the settings are a part of.
func (c *Settings) job(with func(*recipe.Recipe)) (job core.Job, err error) {
	r := recipe.Default()
	r.Data.Input = []string{"-"} // of which a recipe must have one
	r.Model, r.Method, r.Train = c.Model, c.Method, c.Train
	if with != nil {
		with(&r)
	}
	if c.Work == "" {
		return job, errors.New("setting Work is not set: it is the folder or the location of the checkpoints")
	}
	if err := r.Validate(); err != nil {
		return job, err
	}
	t, method := &r.Train, r.Method["peft_type"].(string)
	switch {
	case t.Replicas > 1:
		return job, fmt.Errorf("replicas is %d: rounds of several workers are driven by `adaptflow run`; set it to 1", t.Replicas)
	case !slices.ContainsFunc(peft.Methods, func(m peft.Row) bool { return strings.EqualFold(m.Type, method) }):
		return job, fmt.Errorf("method.peft_type is %q, which is not a method: `adaptflow recipe keys` lists them", method)
	case t.Contributors != "":
		return job, errors.New("contributors repeats a run of several replicas: leave it out")
	}
	limit, err := r.Model.Limit()
	if err != nil {
		return job, err
	}
	args := t.Args
	args.Order = core.OrderEpochs
	start := t.Start
	if len(start.Teachers) == 0 {
		start.DistillationAlpha = 0
	}
	config := map[string]any{}
	for k, v := range r.Method {
		if k != "peft_type" {
			config[k] = v
		}
	}
	name := c.BaseName
	if name == "" {
		name = r.Model.Path
	}
	job = core.Job{Args: args, Model: r.Model.Path, DType: core.ResolveDType(r.Model.Storage()), BaseName: name,
		Method: method, Config: config, Start: start, NamedObjective: t.NamedObjective,
		KernelSet: kernels.Active().String(), MemoryLimit: limit}
	if r.Classifies() || r.Rewards() {
		job.Task = model.Task{Type: r.Model.Task, Seed: args.Seed}
	}
	return job, nil
}

// AdapterFn trains an adapter.
type AdapterFn struct {
	Job  string // a train.Job without what the shards say, as JSON
	Work string
}

// ProcessElement trains on one set of shards.
func (f *AdapterFn) ProcessElement(ctx context.Context, set pack.ShardSet) (AdapterRef, error) {
	ref, err := f.train(ctx, set)
	if err != nil {
		err = fmt.Errorf("training on %s: %w", set.Dir, err)
	}
	return ref, err
}

func (f *AdapterFn) train(ctx context.Context, set pack.ShardSet) (ref AdapterRef, err error) {
	m, err := set.Read()
	if err != nil {
		return ref, err
	}
	job, err := f.on(set, m)
	if err != nil {
		return ref, err
	}
	raw, err := json.Marshal(&job)
	if err != nil {
		return ref, err
	}
	dir, err := job.Place()
	if err != nil {
		return ref, err
	}
	defer core.Drive(ctx, dir)() // its session stays open from one checkpoint to the next
	at := 0
	for done := false; !done; {
		if err := ctx.Err(); err != nil {
			return ref, err
		}
		steps, err := job.Checkpoints()
		if err != nil {
			return ref, err
		}
		if len(steps) > 0 {
			at = steps[len(steps)-1]
		}
		if done, err = inSession(ctx, string(raw), func(s *core.Session) (bool, error) {
			if err := s.AtStep(at); err != nil {
				return false, err
			}
			if at > 0 && (at >= s.Total() || s.State().Stopped) {
				return true, nil
			}
			to, err := s.Advance(at, job.Boundary(at, s.Total()))
			if err == nil && to <= at {
				err = fmt.Errorf("the steps after %d ended without a checkpoint", at)
			}
			return false, err
		}); err != nil {
			return ref, err
		}
	}
	st, err := job.StateOf(at)
	if err != nil {
		return ref, err
	}
	if st.TokensSeen == 0 {
		return ref, fmt.Errorf("no token with a loss was trained on in %d steps, so the adapter is as it began: raise sequence_length "+
			"where prompts fill it", st.Step)
	}
	if ref, err = f.refer(set.Name, job, st); err == nil && len(m.Labels) > 0 {
		raw, err = json.Marshal(m.Labels)
		ref.Classes = string(raw)
	}
	return ref, err
}

// on is the job on a set of shards.
func (f *AdapterFn) on(set pack.ShardSet, m *datasets.Manifest) (job core.Job, err error) {
	if err := json.Unmarshal([]byte(f.Job), &job); err != nil {
		return job, fmt.Errorf("train: the job: %w", err)
	}
	classes := m.Kind == datasets.KindClassification
	if job.Objective == core.ObjectiveReward {
		job.Task.NumLabels = 1
	} else if classes != (job.Task.Type != "") {
		return job, fmt.Errorf("the shards are of kind %s, which does not go with the model's task: set Model.Task to SEQ_CLS for rows "+
			"that have classes, and to CAUSAL_LM for others", m.Kind)
	}
	if classes {
		job.Task.NumLabels = len(m.Labels)
	}
	job.SequenceLength = m.SequenceLength
	for _, list := range []struct {
		from []datasets.ShardInfo
		to   *[]core.ShardRef
	}{{m.Train, &job.Train}, {m.Validation, &job.Validation}} {
		for _, s := range list.from {
			*list.to = append(*list.to, core.ShardRef{Path: storage.Join(set.Dir, s.Path), SHA256: s.SHA256})
		}
	}
	// Other settings and other shards have another folder, so that none finds the checkpoints of the others.
	place := storage.Join(f.Work, "train-"+storage.SHA256([]byte(f.Job + set.Hash))[:32])
	if storage.IsLocal(place) {
		job.Dir, err = filepath.Abs(storage.Local(place))
	} else {
		job.Location = place
	}
	return job, err
}

// refer is the reference to what was trained.
func (f *AdapterFn) refer(name string, job core.Job, st *core.State) (ref AdapterRef, err error) {
	at := st.Step
	if job.Args.LoadBestModelAtEnd && st.BestStep > 0 {
		at = st.BestStep
	}
	best, err := job.StateOf(at)
	if err != nil {
		return ref, err
	}
	job.Train, job.Validation = nil, nil
	raw, err := json.Marshal(&job)
	if err != nil {
		return ref, err
	}
	ref = AdapterRef{Name: name, Model: string(raw), Step: int64(at), Hash: best.Values(), Steps: int64(st.Step), Tokens: st.TokensSeen}
	if n := len(st.History); n > 0 {
		ref.Loss = st.History[n-1].Loss
	}
	return ref, nil
}
