package run

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/track"
	"github.com/adaptflow/adaptflow/train"
)

// mlflowRecord is the record of the run at an MLflow server, which an interrupted run goes on with.
const mlflowRecord = "mlflow"

type mlflowRun struct {
	RunID string `json:"run_id"`
}

// track begins to report a training: to metrics.jsonl, which begins with the steps that it goes on from, and to what train.report_to names.
func (r *Run) track(job train.Job) (add func(track.Row), end func(failed bool), err error) {
	var so []track.Row
	if step, err := drive.Latest(job); err == nil && step > 0 {
		if st, err := job.StateOf(step); err == nil { // what is wrong with it training itself finds
			so = track.Rows(st)
		}
	}
	lines, err := track.OpenLines(filepath.Join(r.Output, track.File), so)
	if err != nil {
		return nil, nil, err
	}
	if !r.reports("mlflow") {
		return lines.Add, func(bool) {}, nil
	}
	s, err := track.FromEnv()
	if err != nil {
		return nil, nil, err
	}
	path := r.RecordPath(mlflowRecord)
	if raw, err := storage.ReadSmall(path, storage.KindState); err == nil {
		var was mlflowRun
		if err := json.Unmarshal(raw, &was); err != nil {
			return nil, nil, fmt.Errorf("%s: %w: delete it, and MLflow gets a run of its own for what is left", path, err)
		}
		s.RunID = was.RunID
	}
	if s.Name == "" {
		s.Name = filepath.Base(r.Product())
	}
	s.Params, s.Warn = r.params(), r.Tell
	s.Keep = func(id string) error {
		if err := storage.WriteJSON(path, mlflowRun{id}); err != nil {
			return err
		}
		return r.Keep(path)
	}
	m := track.OpenMLflow(s)
	return func(row track.Row) { lines.Add(row); m.Add(row) }, m.Close, nil
}

// reports says whether train.report_to names a program.
func (r *Run) reports(name string) bool { return slices.Contains(r.Recipe.Train.ReportTo, name) }

// params are the settings that are shown beside a run.
func (r *Run) params() map[string]string {
	out := map[string]string{"model": r.Recipe.Model.Path, "dtype": r.dtype, "recipe_sha256": r.Recipe.Hash()}
	for k, v := range r.Recipe.Method {
		out["method."+k] = fmt.Sprint(v)
	}
	raw, err := json.Marshal(r.Recipe.Train.Args)
	var args map[string]any
	if err == nil {
		err = json.Unmarshal(raw, &args)
	}
	if err != nil {
		panic("run: settings that were checked cannot be written: " + err.Error())
	}
	for k, v := range args {
		out[k] = fmt.Sprint(v)
	}
	return out
}

// tracked has what a training reports told on, until end is called.
func (r *Run) tracked(ctx context.Context, job train.Job, dir string) (end func(error), err error) {
	add, closed, err := r.track(job)
	if err != nil {
		return nil, err
	}
	stop := train.Watch(dir, func(p train.Progress) {
		if p.Step != nil {
			add(track.Step(p.Step))
		}
		if p.Eval != nil {
			add(track.Eval(p.Eval))
		}
	})
	return func(err error) { stop(); closed(err != nil || ctx.Err() != nil) }, nil
}
