package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// ClassScore is a classifier's score on labelled texts. MacroF1 is scikit-learn's f1_score(average="macro"); Loss is the mean cross-entropy of a text.
type ClassScore struct {
	Documents int     `json:"documents"`
	Accuracy  float64 `json:"accuracy"`
	MacroF1   float64 `json:"macro_f1"`
	Loss      float64 `json:"loss"`
	// Labels are the classes' names and F1 their F1, by number: 0 for a class that neither occurs nor is predicted.
	Labels []string  `json:"labels"`
	F1     []float64 `json:"f1"`
}

// BeforeAfterClasses is a classifier's score before and after training.
type BeforeAfterClasses struct {
	Before *ClassScore `json:"before"`
	After  *ClassScore `json:"after"`
}

// Rows are the measures as text, before and after.
func (b *BeforeAfterClasses) Rows() []ClassRow { return classRows(b.Before, b.After) }

// ClassRow is one measure of a classifier.
type ClassRow struct{ name, before, after, change string }

// Name is what is measured.
func (r ClassRow) Name() string { return r.name }

// Before is the base model's measure.
func (r ClassRow) Before() string { return r.before }

// After is that of the adapted model.
func (r ClassRow) After() string { return r.after }

// Change is the difference.
func (r ClassRow) Change() string { return r.change }

func classRows(b, a *ClassScore) []ClassRow {
	percent := func(name string, b, a float64) ClassRow {
		return ClassRow{name, fmt.Sprintf("%.1f %%", 100*b), fmt.Sprintf("%.1f %%", 100*a), fmt.Sprintf("%+.1f", 100*(a-b))}
	}
	return []ClassRow{percent("accuracy", b.Accuracy, a.Accuracy), percent("macro F1", b.MacroF1, a.MacroF1),
		{"loss", fmt.Sprintf("%.3f", b.Loss), fmt.Sprintf("%.3f", a.Loss), fmt.Sprintf("%+.3f", a.Loss-b.Loss)}}
}

// task is what the model is opened for: for a language model, the embeddings of an adapter at most.
func (r *Run) task() model.Task {
	t := model.Task{Embeddings: r.brought.Embeddings, Trained: r.brought.Trained}
	if r.Recipe.Classifies() {
		t.Type, t.NumLabels, t.Seed = r.Recipe.Model.Task, max(len(r.classes), 2), r.Recipe.Train.Seed
	}
	return t
}

// tryClassifier opens the model with a head of two classes, so that what is wrong with it and with the method shows before the data, which tells the classes,
// is read.
func (r *Run) tryClassifier() (err error) {
	r.model, err = model.LoadTask(r.modelDir, r.dtype, r.task())
	return err
}

// openClassifier opens the model with a head of the classes that the training data has. Nothing is done for a language model.
func (r *Run) openClassifier(data *prepare.Result) (err error) {
	if !r.Recipe.Classifies() {
		return nil
	}
	r.classes = data.Labels
	if r.model, err = core.BaseFor(r.modelDir, r.dtype, r.task()); err != nil {
		return err
	}
	return r.model.NameClasses(r.classes)
}

// classify scores the base with the adapters on the labelled texts of the shards.
func (r *Run) classify(ctx context.Context, shards []prepare.ShardRef, adapters []nn.Adapter, params *nn.Params) (*ClassScore, error) {
	if len(shards) == 0 {
		return nil, errors.New("no labelled text is held out: name eval_input, or raise validation_fraction")
	}
	e := r.Recipe.Evaluate
	c, err := core.NewClassifier(r.model, adapters, params, r.pool, e.BatchSize*r.Recipe.Prepare.SequenceLength, len(r.classes))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	sum := &core.Classified{Confusion: make([][]int, len(r.classes))}
	for i := range sum.Confusion {
		sum.Confusion[i] = make([]int, len(r.classes))
	}
	if err := eachBatch(ctx, r.model.Config.Vocab, shards, e.MaxSequences, e.BatchSize, func(seqs []datasets.Sequence) error {
		part, err := c.Classify(seqs)
		if err == nil {
			sum.Add(part)
		}
		return err
	}); err != nil {
		return nil, err
	}
	if sum.Documents == 0 {
		return nil, errors.New("the held-out texts have no class")
	}
	return &ClassScore{Documents: sum.Documents, Accuracy: sum.Accuracy(), MacroF1: sum.MacroF1(), Loss: sum.Loss / float64(sum.Documents), Labels: r.classes, F1: sum.F1()}, nil
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
		d := rec.Data
		in, err := datasets.Open(f.Path, f.Source, datasets.Options{Format: d.Format, Delimiter: d.Delimiter, RowKind: datasets.RowClassification,
			TextColumn: d.TextColumn, LabelColumn: d.LabelColumn})
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
