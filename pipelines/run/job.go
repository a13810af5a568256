package run

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

func refs(shards []prepare.ShardRef) []train.ShardRef {
	var out []train.ShardRef
	for _, s := range shards {
		out = append(out, train.ShardRef{Path: s.Path, SHA256: s.SHA256})
	}
	return out
}

// Args are the recipe's settings of training.
func (r *Run) Args() train.Args {
	a := r.Recipe.Train.Args
	if a.Order = train.OrderEpochs; r.begunBefore {
		a.Order = train.OrderWrapped
	}
	if !r.sharesPrompts {
		a.SharedPrompts = ""
	}
	return a
}

// start is what the recipe's training starts from, with the folders of this machine.
func (r *Run) start() train.Start {
	s := r.Recipe.Train.Start
	s.InitAdapter = r.Fetched(s.InitAdapter)
	if s.Teachers = r.teachers; len(s.Teachers) == 0 {
		s.DistillationAlpha = 0
	}
	return s
}

// Job is the training job of the recipe over prepared data.
func (r *Run) Job(d *Data) (train.Job, error) {
	t := r.Recipe.Train
	limit, err := r.Recipe.Model.Limit()
	if err != nil {
		return train.Job{}, err
	}
	if d.domain != nil && len(d.Domain) == 0 && (t.LoadBestModelAtEnd || t.EarlyStoppingPatience > 0) {
		return train.Job{}, errors.New("train.load_best_model_at_end and early_stopping_patience go by the loss on eval_input, in which " +
			"no token has one: " +
			"give other text")
	}
	name, _ := r.Recipe.Method["peft_type"].(string)
	config, err := r.methodConfig()
	if err != nil {
		return train.Job{}, err
	}
	var contributors map[int][]int
	if t.Contributors != "" {
		if contributors, err = train.ReadContributors(t.Contributors); err != nil {
			return train.Job{}, fmt.Errorf("train.contributors: %w", err)
		}
	}
	return train.Job{Args: r.Args(), Model: r.modelDir, Task: r.task(), DType: r.dtype, BaseName: r.BaseName(), Method: name,
		Config: config, Start: r.start(), NamedObjective: t.NamedObjective, Train: refs(d.Train.Train), Validation: refs(d.Domain),
		Contributors:   contributors,
		SequenceLength: r.Recipe.Prepare.SequenceLength, Dir: filepath.Join(r.Output, "checkpoints"), KernelSet: kernels.Active().String(),
		MemoryLimit: limit}, nil
}
