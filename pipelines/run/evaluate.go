package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/evaluate"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Evaluate measures the base with the adapter at a point (none: the base alone) on the evaluation sets, in a pipeline.
func (r *Run) Evaluate(ctx context.Context, d *Data, at train.Point) (*measure.Results, error) {
	return r.evaluate(ctx, d, at, nil)
}

// evaluate is Evaluate whose pipeline goes on with the results: see [evaluate.ScoreJob].
func (r *Run) evaluate(ctx context.Context, d *Data, at train.Point,
	then func(s beam.Scope, results beam.PCollection) (beam.PCollection, error)) (*measure.Results, error) {
	job, err := r.scoring(ctx, d, at)
	if err != nil {
		return nil, err
	}
	parts, err := measure.Parts(r.input(d))
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal([]any{job, parts})
	if err != nil {
		return nil, err
	}
	// The name holds what is measured: another driver, or one that was lost, may have written it already.
	job.Output = r.WorkPath(workScores, storage.SHA256(raw)[:32]+".json")
	job.Run = job.Output
	found, err := evaluate.Read(job.Output)
	if errors.Is(err, fs.ErrNotExist) || then != nil {
		if err = r.score(ctx, job, parts, then); err == nil {
			found, err = evaluate.Read(job.Output)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, s := range found.Said {
		r.Tell("%s", s)
	}
	if r.Work == "" {
		return found.Results, os.RemoveAll(r.WorkPath(workScores))
	}
	return found.Results, evaluate.Remove(context.WithoutCancel(ctx), job.Output)
}

// score runs the pipeline of an evaluation.
func (r *Run) score(ctx context.Context, job evaluate.Job, parts []measure.Part,
	then func(s beam.Scope, results beam.PCollection) (beam.PCollection, error)) error {
	p, s := runners.NewPipeline()
	out, err := evaluate.ScoreJob(s, job, parts, r.Runner.Dry())
	if err == nil && then != nil {
		out, err = then(s, out)
	}
	if err != nil {
		return err
	}
	end.Of(s, out)
	what := "scoring the base model"
	if !job.At.Alone() {
		what = "scoring the adapted model"
	}
	defer r.during(what)()
	defer train.Drive(ctx, job.Run)()
	defer evaluate.Close(job.Run)
	return bare(r.Runner.Run(ctx, p, "adaptflow-evaluate"))
}

// bare is what failed in a job, where which job it was says nothing.
func bare(err error) error {
	if job := (*runners.JobError)(nil); errors.As(err, &job) {
		return job.Err
	}
	return err
}

// scoring is the job of an evaluation, but for its output.
func (r *Run) scoring(ctx context.Context, d *Data, at train.Point) (evaluate.Job, error) {
	model, err := r.modelJob(ctx, at)
	if err != nil {
		return evaluate.Job{}, err
	}
	model.NamedObjective = r.Recipe.Train.NamedObjective
	in := r.input(d)
	job := evaluate.Job{Model: model, At: at, Engine: tokenize.Engine(r.Recipe.Model.TokenizerEngine), Ends: r.ends(), Before: r.before,
		Config: in.Config, Domain: in.Domain, General: in.General, Origins: in.Origins, SequenceLength: in.SequenceLength,
		Classes: in.Classes, Seed: in.Seed}
	if r.Recipe.Prepare.ApplyChatTemplate {
		set, err := chat.Load(r.tokenizerDir())
		if err != nil {
			return job, fmt.Errorf("chat template: %w", err)
		}
		job.Chat = len(set) > 0
	}
	job.Tokenizer, err = r.Shared(ctx, r.tokenizerDir())
	return job, err
}

// modelJob is what workers open the model by, with the adapter at a point.
func (r *Run) modelJob(ctx context.Context, at train.Point) (train.Job, error) {
	whole, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return whole, err
	}
	job := train.Job{Model: whole.Model, Task: whole.Task, DType: whole.DType, Dir: whole.Dir, KernelSet: whole.KernelSet}
	if !at.Alone() {
		job.BaseName, job.Method, job.Config, job.Args.Seed = whole.BaseName, whole.Method, whole.Config, whole.Args.Seed
		init, err := r.initDir()
		if err != nil {
			return job, err
		}
		job.InitAdapter = r.Fetched(init)
	}
	if job, err = r.ForWorkers(ctx, job); err != nil || r.Work == "" || at.Alone() {
		return job, err
	}
	job.BaseName = peft.BaseMark
	return job, nil
}

// input is what is measured on, with the base alone.
func (r *Run) input(d *Data) *measure.Input {
	m := &infer.Model{Dir: r.modelDir, Base: r.model, Pool: r.pool, Tokenizer: r.tokenizer, Frame: r.frame, Framed: !r.before}
	return &measure.Input{Model: m, Config: r.Recipe.Evaluate, Domain: set(d.Domain, d.domain), General: set(d.General, d.general),
		Origins: d.Origins, SequenceLength: r.Recipe.Prepare.SequenceLength, Classes: r.classes, Seed: r.Recipe.Train.Seed, Say: r.Say,
		Objective: r.Recipe.Train.NamedObjective}
}

// set is an evaluation set: its shards, and why there are none where it was prepared.
func set(shards []prepare.ShardRef, from *prepare.Result) (out measure.Set) {
	for _, s := range shards {
		out.Shards = append(out.Shards, s.Path)
	}
	if len(shards) == 0 && from != nil && len(from.Train) == 0 {
		out.None = fmt.Sprintf("no token of its %d records has a loss (%s)", from.Read, prepare.Reasons(from.Rejected))
	}
	return out
}
