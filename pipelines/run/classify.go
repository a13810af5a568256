package run

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// hold loads the model, or takes that of another run of this process; the run holds it until it is closed. A classifier has two classes until
// the data tells which there are, so that what is wrong with it and with the method shows before.
func (r *Run) hold() error {
	h, err := train.Hold(r.modelDir, r.dtype, r.task())
	if err != nil {
		return err
	}
	r.release()
	r.held, r.model = h, h.Model
	return nil
}

// release gives the model up.
func (r *Run) release() {
	_ = r.held.Release() // a file that was only read
	r.held, r.model = nil, nil
}

// task is what the model is opened for: for a language model, the embeddings of an adapter at most.
func (r *Run) task() model.Task {
	t := model.Task{Embeddings: r.brought.Embeddings, Trained: r.brought.Trained}
	if r.Recipe.Classifies() {
		t.Type, t.NumLabels, t.Seed = r.Recipe.Model.Task, max(len(r.classes), 2), r.Recipe.Train.Seed
	}
	return t
}

// openClassifier opens the model with a head of the classes that the training data has. Nothing is done for a language model.
func (r *Run) openClassifier(data *prepare.Result) error {
	if !r.Recipe.Classifies() {
		return nil
	}
	r.classes = data.Labels
	if err := r.hold(); err != nil {
		return err
	}
	return r.model.NameClasses(r.classes)
}

// countClasses reads the input of a recipe for its classes, where no data has been prepared.
func countClasses(rec *recipe.Recipe) (int, error) {
	named, err := rec.Data.Named()
	if err != nil {
		return 0, err
	}
	inputs := slices.Clone(rec.Data.Input)
	for _, s := range named {
		inputs = append(inputs, s.Input...)
	}
	files, err := assets.ResolveAll(inputs)
	if err != nil {
		return 0, err
	}
	sources, err := datasets.FindSources(files)
	if err != nil {
		return 0, err
	}
	names := map[string]bool{}
	for _, f := range sources {
		how := rec.Data.Options
		how.RowKind, how.KeyColumn = datasets.RowClassification, ""
		in, err := datasets.Open(f.Path, f.Source, how)
		if err != nil {
			return 0, err
		}
		for {
			rec, rej, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				in.Close()
				return 0, err
			}
			if rej == nil {
				names[rec.Label] = true
			}
		}
		if err := in.Close(); err != nil {
			return 0, err
		}
	}
	if len(names) < 2 {
		return 0, fmt.Errorf("the input has %d classes in the column %s: a classifier needs two", len(names), rec.Data.LabelColumn)
	}
	return len(names), nil
}
