package run

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// head is how the model of a task comes by its head.
type head struct {
	task string // model.task of a recipe
	// rows is the kind of the rows that it learns from, "" for whichever they are.
	rows string
	// classes counts in the input the classes that the head has; nil for a head that does not depend on the data. One that does is opened
	// when the data is prepared, and with two classes before, so that what is wrong with the model and the method shows at once.
	classes func(*recipe.Recipe) (int, error)
	// outputs are those of a head that does not depend on the data; 0 for a language model's.
	outputs int
	// rewards: of the rows of a task, this one is for the objectives that compare answers.
	rewards bool
}

// heads has a row for each task, language models first.
var heads = []head{
	{task: "CAUSAL_LM"},
	{task: "SEQ_CLS", rows: datasets.RowClassification, classes: countClasses},
	{task: "SEQ_CLS", rows: datasets.RowPreference, outputs: 1, rewards: true},
}

// headOf is the row of a recipe; the first where one made in Go names no task.
func headOf(rec *recipe.Recipe) *head {
	for i := range heads {
		if h := &heads[i]; rec.Model.Task == "" || h.task == rec.Model.Task && h.rewards == rec.Rewards() {
			return &heads[i]
		}
	}
	panic(fmt.Sprintf("run: the task %q has no head", rec.Model.Task))
}

// hold loads the model, or takes that of another run of this process; the run holds it until it is closed.
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

// task is what the model is opened for, with the embeddings of an adapter that brings some.
func (r *Run) task() model.Task {
	t := model.Task{Embeddings: r.brought.Embeddings, Trained: r.brought.Trained}
	switch h := headOf(r.Recipe); {
	case h.outputs > 0:
		t.Type, t.NumLabels, t.Seed = r.Recipe.Model.Task, h.outputs, r.Recipe.Train.Seed
	case h.classes != nil:
		t.Type, t.NumLabels, t.Seed = r.Recipe.Model.Task, max(len(r.classes), 2), r.Recipe.Train.Seed
	}
	return t
}

// openHead opens the model with a head of the classes that the training data has, where the head depends on it.
func (r *Run) openHead(data *prepare.Result) error {
	if headOf(r.Recipe).classes == nil {
		return nil
	}
	r.classes = data.Labels
	if err := r.hold(); err != nil {
		return err
	}
	return r.model.NameClasses(r.classes)
}
