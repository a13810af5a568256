package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/track"
	"github.com/adaptflow/adaptflow/train"
)

// outputsFile, among the records of stages, has the SHA-256 of each file that a finished run gave, by its path in the output folder.
const outputsFile = "outputs.json"

// noteOutputs records the files of a finished run's parts. Those on an object store are not read: see missingThere.
func (r *Run) noteOutputs(m *report.Metrics) error {
	if r.store != "" {
		return nil
	}
	sums := map[string]string{}
	for _, part := range outputsOf(m) {
		files, err := filesOf(filepath.Join(r.Output, part))
		if err != nil {
			return err
		}
		for _, path := range files {
			rel, err := filepath.Rel(r.Output, path)
			if err != nil {
				return err
			}
			if sums[filepath.ToSlash(rel)], err = storage.SHA256File(path); err != nil {
				return err
			}
		}
	}
	return storage.WriteJSON(filepath.Join(r.Output, "stages", outputsFile), sums)
}

// missingThere says of each part of a finished run on an object store that nothing of it is there. The objects are not read: their names
// are written once, and the machine that asks need not be the one that ran.
func (r *Run) missingThere(m *report.Metrics) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range m.Paths {
		uri := storage.Join(r.store, p)
		_, err := storage.Glob(storage.Join(uri, "*"))
		there := err == nil
		if errors.Is(err, fs.ErrNotExist) {
			there, err = storage.Exists(uri)
		}
		if err == nil && !there {
			out[p] = "is missing"
		} else if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// broken says of each part of a finished run that is missing or damaged what is wrong with it. Of runs of earlier versions, which recorded
// no checksums, it finds what is missing.
func (r *Run) broken(m *report.Metrics) (map[string]string, error) {
	if r.store != "" {
		return r.missingThere(m)
	}
	out := map[string]string{}
	for _, p := range m.Paths {
		if p == "checkpoints" { // to go on from, not to use
			continue
		}
		path := filepath.Join(r.Output, p)
		if p == "shards" || p == RejectsDir {
			path = r.Product(p)
			if !storage.IsLocal(path) {
				continue
			}
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			out[p] = "is missing"
		} else if err != nil {
			return nil, err
		}
	}
	if _, ok := out[AdapterDir]; !ok && !Weighs(filepath.Join(r.Output, AdapterDir)) {
		out[AdapterDir] = "has no weights"
	}
	raw, err := storage.ReadSmall(filepath.Join(r.Output, "stages", outputsFile), storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil
	}
	sums := map[string]string{}
	if err == nil {
		err = json.Unmarshal(raw, &sums)
	}
	if err != nil {
		return nil, err
	}
	for _, rel := range slices.Sorted(maps.Keys(sums)) {
		part, _, _ := strings.Cut(rel, "/")
		if out[part] != "" {
			continue
		}
		why, err := wrong(filepath.Join(r.Output, rel), rel, sums[rel])
		if err != nil {
			return nil, err
		}
		if why != "" {
			out[part] = why
		}
	}
	for _, set := range []string{"train", "domain", "general"} {
		_, why, err := r.BrokenShards(set)
		if err != nil {
			return nil, err
		}
		if part := map[bool]string{true: "shards", false: "eval"}[set == "train"]; why != "" && out[part] == "" {
			out[part] = why
		}
	}
	return out, nil
}

// Weighs says whether an adapter folder has weights.
func Weighs(dir string) bool {
	find := filepath.Glob
	if !storage.IsLocal(dir) {
		find = storage.Glob
	}
	files, err := find(storage.Join(dir, "*.safetensors"))
	return err == nil && len(files) > 0
}

// mend makes the broken parts of a finished run again, from its checkpoints and records, or says what to do about them.
func (r *Run) mend(ctx context.Context, m *report.Metrics, broken map[string]string) error {
	for _, p := range slices.Sorted(maps.Keys(broken)) {
		r.Tell("this run is finished, but %s %s: it is made again", r.Product(p), broken[p])
	}
	if _, err := r.Prepare(ctx); err != nil { // shards and their dead letters; a classifier's classes
		return err
	}
	var parts []string
	for p := range broken {
		if p != "shards" && p != "eval" && p != RejectsDir && p != RecipeFile {
			parts = append(parts, p)
		}
	}
	if _, gone := broken[RejectsDir]; gone && broken["shards"] == "" { // they come with the shards
		if err := os.Remove(r.RecordPath("prepare-train")); err != nil {
			return err
		}
		if _, err := r.Prepare(ctx); err != nil {
			return fmt.Errorf("%s cannot be made again: %w", r.Product(RejectsDir), err)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	st, err := r.State()
	if err != nil {
		return fmt.Errorf("%s of the finished run cannot be made again without its checkpoints (%w): restore them from a copy, or delete "+
			"%s to train again",
			strings.Join(parts, ", "), err, r.Product(MetricsFile))
	}
	if slices.ContainsFunc(export.Formats, func(f *export.Format) bool { return broken[f.Folder] != "" }) {
		before, after, err := r.records()
		if err != nil {
			return err
		}
		for _, f := range export.Formats { // some are made of others
			if err := os.RemoveAll(filepath.Join(r.Output, f.Folder)); err != nil {
				return err
			}
		}
		if err := r.Export(ctx, st, before, after); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(parts, func(p string) bool {
		return p == report.File || p == track.File || strings.HasPrefix(p, report.EventsPrefix)
	}) {
		if err := r.pages(m, st); err != nil {
			return err
		}
	}
	return r.noteOutputs(m)
}

// records reads the scores before and after training.
func (r *Run) records() (before, after *measure.Results, err error) {
	for _, x := range []struct {
		name string
		to   **measure.Results
	}{{"before", &before}, {"after", &after}} {
		if *x.to, err = Record(r, x.name, func() (*measure.Results, error) {
			return nil, fmt.Errorf("the record of the scores %s training is gone: delete %s, and the run measures again", x.name,
				r.Product(MetricsFile))
		}); err != nil {
			return nil, nil, err
		}
	}
	return before, after, nil
}

// outputsOf are the parts of a run whose checksums are recorded: those that nothing else records.
func outputsOf(m *report.Metrics) (out []string) {
	for _, p := range m.Paths {
		if p != "shards" && p != RejectsDir && p != "checkpoints" && p != RecipeFile && p != MetricsFile {
			out = append(out, p)
		}
	}
	return out
}

// finished reads the summary of a finished run, after it has mended what is missing or damaged of it; nil where the run is not finished.
func (r *Run) finished(ctx context.Context) (*report.Metrics, error) {
	m, err := report.ReadMetrics(r.Output)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil { // it is written again, as the other summaries are
		r.Tell("warning: %v: the run's summary is made again", err)
		return nil, nil
	}
	broken, err := r.broken(m)
	if err != nil {
		return nil, err
	}
	if len(broken) > 0 {
		if err := r.mend(ctx, m, broken); err != nil {
			return nil, err
		}
		return m, r.Publish()
	}
	_, err = os.Stat(filepath.Join(r.Output, "checkpoints"))
	if errors.Is(err, fs.ErrNotExist) && slices.Contains(m.Paths, "checkpoints") {
		r.Tell("warning: %s is gone: nothing can be made again from it", r.Product("checkpoints"))
	}
	r.Tell("this run is finished: %s", r.Product())
	return m, nil
}

// pages writes what shows the metrics to people.
func (r *Run) pages(m *report.Metrics, st *train.State) error {
	i := slices.IndexFunc(m.Paths, func(p string) bool { return strings.HasPrefix(p, report.EventsPrefix) })
	if i >= 0 {
		if err := storage.WriteFile(filepath.Join(r.Output, m.Paths[i]), report.Events(m, st)); err != nil {
			return err
		}
	}
	if slices.Contains(m.Paths, track.File) {
		if err := storage.WriteFile(filepath.Join(r.Output, track.File), track.Text(track.Rows(st))); err != nil {
			return err
		}
	}
	page, err := report.HTML(m)
	if err != nil {
		return err
	}
	return storage.WriteFile(filepath.Join(r.Output, report.File), page)
}

// lacksRecipe says whether the output folder is a finished run of this recipe whose recipe's file is gone.
func (r *Run) lacksRecipe() bool {
	m, err := report.ReadMetrics(r.Output)
	return err == nil && m.About.Recipe == r.Recipe.Hash()
}
