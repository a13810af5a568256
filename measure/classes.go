package measure

import (
	"context"
	"errors"
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/train"
)

// classes scores a classifier on labelled texts.
var classes = Measure{
	Name:  "classification",
	Doc:   "how well a classifier tells the classes of labelled texts",
	Title: func(r *Results) string { return fmt.Sprintf("%d classes", len(r.Classes.Labels)) },
	Columns: []Column{
		{Name: "accuracy", Better: Higher, Percent: true},
		{Name: "macro F1", Better: Higher, Percent: true},
		{Name: "loss", Format: "%.3f", Better: Lower},
		{Name: "F1", Better: Higher, Percent: true, Show: Folded},
	},
	When:  func(in *Input) bool { return in.classifies() && in.Objective.Answers() == "" },
	Parts: (*Input).classifyParts,
	Part:  func(ctx context.Context, in *Input, p Part) (any, error) { return in.classifyPart(ctx, p) },
	Run: func(ctx context.Context, in *Input, out *Results) (err error) {
		out.Classes, err = in.classify(ctx)
		return err
	},
	Lines: func(r *Results) (out []Line) {
		c := r.Classes
		if c == nil {
			return nil
		}
		out = append(out, Line{Numbers: Numbers{"accuracy": c.Accuracy, "macro F1": c.MacroF1, "loss": c.Loss}})
		for i, l := range c.Labels {
			out = append(out, Line{Name: l, Numbers: Numbers{"F1": c.F1[i]}})
		}
		return out
	},
}

// ClassScore is a classifier's score on labelled texts. MacroF1 is scikit-learn's f1_score(average="macro"); Loss is the mean
// cross-entropy of a text.
type ClassScore struct {
	Documents int     `json:"documents"`
	Accuracy  float64 `json:"accuracy"`
	MacroF1   float64 `json:"macro_f1"`
	Loss      float64 `json:"loss"`
	// Labels are the classes' names and F1 their F1, by number: 0 for a class that neither occurs nor is predicted.
	Labels []string  `json:"labels"`
	F1     []float64 `json:"f1"`
}

// ClassChange is a classifier's score before and after training.
type ClassChange struct {
	Before *ClassScore `json:"before"`
	After  *ClassScore `json:"after"`
}

// classifyParts are the shards of the domain.
func (in *Input) classifyParts() ([]Part, error) {
	if len(in.Domain.Shards) == 0 {
		return nil, errors.New("no labelled text is held out: name eval_input, or raise validation_fraction")
	}
	return in.byShard(SetDomain)
}

// noneRight are the counts of no document.
func (in *Input) noneRight() *train.Classified {
	sum := &train.Classified{Confusion: make([][]int, len(in.Classes))}
	for i := range sum.Confusion {
		sum.Confusion[i] = make([]int, len(in.Classes))
	}
	return sum
}

// classifyPart classifies the labelled texts of a part.
func (in *Input) classifyPart(ctx context.Context, p Part) (*train.Classified, error) {
	c, err := in.Model.Classifier(max(in.Config.BatchSize, 1)*in.SequenceLength, len(in.Classes))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	shards, err := in.shards(p)
	if err != nil {
		return nil, err
	}
	sum := in.noneRight()
	return sum, in.eachBatch(ctx, shards, p.Limit, func(seqs []datasets.Sequence) error {
		part, err := c.Classify(seqs)
		if err == nil {
			sum.Add(part)
		}
		return err
	})
}

// classify puts the parts together.
func (in *Input) classify(ctx context.Context) (*ClassScore, error) {
	pieces, err := in.Pieces(ctx)
	if err != nil {
		return nil, err
	}
	sum := in.noneRight()
	for _, p := range pieces {
		part, err := found[*train.Classified](p)
		if err != nil {
			return nil, err
		}
		sum.Add(part)
	}
	if sum.Documents == 0 {
		return nil, errors.New("the held-out texts have no class")
	}
	return &ClassScore{Documents: sum.Documents, Accuracy: sum.Accuracy(), MacroF1: sum.MacroF1(),
		Loss: sum.Loss / float64(sum.Documents), Labels: in.Classes, F1: sum.F1()}, nil
}
