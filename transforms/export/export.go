// Package export has the transform that ends a run: a worker writes the trained adapter in the formats that the settings ask for, the
// folder of HF PEFT with its model card, and the merged model. What travels is a job of references.
// [Adapter] is for programs with adapters of their own.
package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	core "github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

func init() {
	beam.RegisterDoFn(&WriteFn{})
	register.Emitter1[string]()
}

// Job is everything that a worker needs to write an adapter, as references: it travels as JSON.
type Job struct {
	Model  train.Job   `json:"model"` // its model, method and places; its settings and shards are not used
	At     train.Point `json:"at"`
	Config core.Config `json:"config"`
	// Card is what the model card says; how the results after training differ from those before is added to its results.
	Card    peft.Card        `json:"card"`
	Before  *measure.Results `json:"before"`
	Classes []string         `json:"classes,omitempty"` // of a classifier, by number
	// Output is a folder, which workers see, or a location. Each format has its folder there; or, of Alone, it is itself HF PEFT's.
	Output string `json:"output"`
	Alone  bool   `json:"alone,omitempty"`
}

// Write writes the adapter of a job. after has one element, the results after training as JSON, those of [measure.Results]; or "" for none.
// The collection that it returns has one element, the output.
//
// Where the name of the base model is not the workers' to know, it is [peft.BaseMark] in the job, and [Name] puts it in place.
func Write(s beam.Scope, job Job, after beam.PCollection) (beam.PCollection, error) {
	raw, err := storage.MarshalJSON(&job, "") // whose results may have numbers that are none
	if err != nil {
		return beam.PCollection{}, err
	}
	return beam.ParDo(s.Scope("export.Write"), &WriteFn{Job: string(raw)}, after), nil
}

// WriteFn writes an adapter.
type WriteFn struct {
	Job string // Job as JSON
}

// ProcessElement takes the results after training and emits where the adapter is. A retry writes the same bytes.
func (f *WriteFn) ProcessElement(ctx context.Context, after string) (_ string, err error) {
	var j Job
	if err := json.Unmarshal([]byte(f.Job), &j); err != nil {
		return "", fmt.Errorf("export: the job: %w", err)
	}
	if after != "" {
		var r measure.Results
		if err := json.Unmarshal([]byte(after), &r); err != nil {
			return "", fmt.Errorf("export: the results after training: %w", err)
		}
		changes := measure.Compare(j.Before, &r)
		j.Card.Results = append(measure.Card(&changes), j.Card.Results...)
	}
	return j.Output, j.writeAll(ctx, nil)
}

// writeAll writes the adapter to the job's output. opened, if not nil, is called with it before.
func (j *Job) writeAll(ctx context.Context, opened func(*train.Trained) error) error {
	t, err := train.OpenTrained(ctx, j.Model, j.At)
	if err != nil {
		return err
	}
	defer t.Close()
	if opened != nil {
		if err := opened(t); err != nil {
			return err
		}
	}
	if len(j.Classes) > 0 {
		if err := t.Model.NameClasses(j.Classes); err != nil {
			return err
		}
	}
	if t.Model.Config.NumLabels > 0 {
		if j.Card.ModelConfig, err = t.Model.ClassifierConfig(); err != nil {
			return err
		}
	}
	source := &core.Source{Base: t.Job.Model, Adapter: t.Adapter, Params: t.Params, Card: j.Card}
	if storage.IsLocal(j.Output) {
		return j.write(source, j.Output)
	}
	tmp, err := os.MkdirTemp("", "adaptflow-export-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	here := filepath.Join(tmp, "output") // which a format may want not to exist
	if err := j.write(source, here); err != nil {
		return err
	}
	return j.copy(ctx, here)
}

// write writes the formats to a folder of this machine.
func (j *Job) write(s *core.Source, to string) error {
	if j.Alone {
		return core.WriteAdapter(s, to)
	}
	return core.Write(s, &j.Config, to)
}

// folders are the folders of the formats in the output; "" for the output itself.
func (j *Job) folders() (out []string) {
	if j.Alone {
		return []string{""}
	}
	for _, f := range core.Wanted(&j.Config) {
		out = append(out, f.Folder)
	}
	return out
}

// copy copies the formats' folders to the location, in place of what was there. Only what is not written again is removed, and at the end:
// another attempt may be writing the same bytes, or have written them.
func (j *Job) copy(ctx context.Context, here string) error {
	written := map[string]bool{}
	if err := filepath.WalkDir(here, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(here, p)
		if err != nil {
			return err
		}
		uri := storage.Join(j.Output, filepath.ToSlash(rel))
		written[uri] = true
		return storage.CopyFile(uri, p)
	}); err != nil {
		return err
	}
	var old []string
	for _, folder := range j.folders() {
		if err := storage.List(ctx, storage.Join(j.Output, folder), func(i storage.Info) error {
			if !written[i.URI] {
				old = append(old, i.URI)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for _, uri := range old {
		if err := storage.Remove(uri); err != nil {
			return err
		}
	}
	return nil
}

// Name puts the base model's name in the place of [peft.BaseMark] in what workers wrote to the location of a job.
func (j *Job) Name(ctx context.Context, base string) error {
	for _, folder := range j.folders() {
		for _, name := range peft.Naming {
			uri := storage.Join(j.Output, folder, name)
			raw, err := storage.ReadFile(uri)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if named := peft.NameBase(raw, peft.BaseMark, base); string(named) != string(raw) {
				if err := storage.WriteFile(uri, named); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}
