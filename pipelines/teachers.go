package pipelines

import (
	"fmt"

	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/tokenize"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// findTeachers resolves the models to distil from and checks that they have the tokenizer of the base.
func (r *Run) findTeachers() error {
	r.teachers = nil
	if len(r.Recipe.Train.Teachers) > 0 && r.tokenizer == nil {
		var err error
		if r.tokenizer, err = tokenize.LoadEngine(r.modelDir, engine(r.Recipe.Model.TokenizerEngine)); err != nil {
			return err
		}
	}
	for _, ref := range r.Recipe.Train.Teachers {
		dir, err := ResolveModel(ref, r.say)
		if err != nil {
			return fmt.Errorf("train.teacher_model_name_or_path: %w", err)
		}
		t, err := tokenize.Load(dir)
		if err != nil {
			return fmt.Errorf("train.teacher_model_name_or_path: %w", err)
		}
		if err := sameTokens(r.tokenizer, t); err != nil {
			return fmt.Errorf("train.teacher_model_name_or_path: %s: %w", ref, err)
		}
		r.teachers = append(r.teachers, dir)
	}
	return nil
}

// openTeachers opens the teachers of a recipe's training, with the memory that its worker takes for them.
func (r *Run) openTeachers(student *model.Model) (*core.Teachers, error) {
	if err := r.findTeachers(); err != nil {
		return nil, err
	}
	if len(r.teachers) == 0 {
		return nil, nil
	}
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return nil, err
	}
	return job.OpenTeachers(student, nil)
}

// sameTokens says where two tokenizers give an id to different texts.
func sameTokens(a, b tokenize.Tokenizer) error {
	if n, m := a.VocabSize(), b.VocabSize(); n != m {
		return fmt.Errorf("its tokenizer has %d tokens, that of the base %d: a teacher must have the same", m, n)
	}
	for id := range int32(a.VocabSize()) {
		s, _ := a.IDToToken(id)
		if t, _ := b.IDToToken(id); s != t {
			return fmt.Errorf("its token %d is %q, that of the base %q: a teacher must have the same tokenizer", id, t, s)
		}
	}
	return nil
}
