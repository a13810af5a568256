package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// findTeachers resolves the models to distil from, and checks before anything is written that they fit the recipe and have the tokenizer of
// the base.
func (r *Run) findTeachers() error {
	r.teachers = nil
	for _, ref := range r.Recipe.Train.Teachers {
		dir, err := r.findTeacher(ref)
		if err != nil {
			return fmt.Errorf("train.teacher_model_name_or_path: %s: %w", ref, err)
		}
		r.teachers = append(r.teachers, dir)
	}
	return nil
}

func (r *Run) findTeacher(ref string) (string, error) {
	dir, err := r.baseFolder(ref)
	if err != nil {
		return "", err
	}
	raw, err := storage.ReadSmall(filepath.Join(dir, "config.json"), storage.KindConfig)
	if err != nil {
		return "", err
	}
	c, _, err := model.Describe(raw)
	if err != nil {
		return "", err
	}
	if err := train.CheckTeacher(&c, r.Recipe.Prepare.SequenceLength); err != nil {
		return "", fmt.Errorf("the teacher %w", err)
	}
	if r.tokenizer == nil { // a plan
		if r.tokenizer, err = r.openTokenizer(r.tokenizerDir()); err != nil {
			return "", err
		}
	}
	if at, err := os.Stat(dir); err == nil { // a folder under another name is loaded once
		for _, known := range append([]string{r.modelDir}, r.teachers...) {
			if st, err := os.Stat(known); err == nil && os.SameFile(st, at) {
				dir = known
			}
		}
	}
	if sum, err := storage.SHA256File(filepath.Join(dir, "tokenizer.json")); err == nil && sum == r.tokenizer.Hash() {
		return dir, nil
	}
	t, err := tokenize.Load(dir)
	if err != nil {
		return "", err
	}
	return dir, sameTokens(r.tokenizer, t)
}

// openObjective opens what a recipe's training learns, with its teachers, where it has some.
func (r *Run) openObjective(student *model.Model) (train.Objective, error) {
	if err := r.findTeachers(); err != nil {
		return nil, err
	}
	job := train.Job{Args: r.Args(), Start: r.start(), NamedObjective: r.Recipe.Train.NamedObjective, DType: r.dtype,
		SequenceLength: r.Recipe.Prepare.SequenceLength}
	return job.OpenObjective(student, nil)
}

// Teaching is what the model card says of the teachers or the objective, nothing where there are none.
func (r *Run) Teaching() (lines [][2]string) {
	if name := r.Recipe.Train.Objective; name != "" {
		lines = append(lines, [2]string{"objective", name})
	}
	if len(r.teachers) == 0 {
		return lines
	}
	var names []string
	for _, t := range r.Recipe.Train.Teachers {
		names = append(names, filepath.Base(filepath.Clean(t)))
	}
	return append(lines, [2]string{"teachers", strings.Join(names, ", ")},
		[2]string{"distillation_alpha", fmt.Sprint(r.Recipe.Train.DistillationAlpha)})
}

// sameTokens says where two tokenizers give an id to different texts.
func sameTokens(base, teacher tokenize.Tokenizer) error {
	if n, m := base.VocabSize(), teacher.VocabSize(); n != m {
		return fmt.Errorf("its tokenizer has %d tokens, that of the base %d: a teacher must have the same", m, n)
	}
	for id := range int32(base.VocabSize()) {
		s, _ := base.IDToToken(id)
		if t, _ := teacher.IDToToken(id); s != t {
			return fmt.Errorf("its token %d is %q, that of the base %q: a teacher must have the same tokenizer", id, t, s)
		}
	}
	return nil
}
