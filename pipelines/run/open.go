package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// ID names the run of an output folder or location: the names of its jobs on an engine end with it.
func ID(output string) (string, error) {
	if storage.IsLocal(output) {
		abs, err := filepath.Abs(output)
		if err != nil {
			return "", err
		}
		output = abs
	}
	sum := sha256.Sum256([]byte(output))
	return "r" + hex.EncodeToString(sum[:6]), nil
}

// Open locks the output folder, checks that it is this recipe's, and loads the model and its tokenizer.
func (r *Run) Open() (err error) {
	if err := r.Runner.CheckOutput(r.Output); err != nil {
		return err
	}
	if r.Runner.Schemes, err = runners.Schemes(r.Recipe, r.Output); err != nil {
		return err
	}
	if r.modelDir, err = assets.Model(r.Recipe.Model.Path, r.Tell); err != nil {
		return err
	}
	if err := r.findEmbeddings(); err != nil {
		return err
	}
	if err := r.loadTokenizer(); err != nil {
		return err
	}
	r.dtype = train.ResolveDType(r.Recipe.Model.Storage())
	if r.Recipe.Classifies() {
		if err := r.tryClassifier(); err != nil {
			return err
		}
		defer func() { r.model = nil }() // opened when the classes are known
	} else if r.model, err = train.BaseFor(r.modelDir, r.dtype, r.task()); err != nil {
		return err
	}
	if r.model.Config.Task != r.Recipe.Model.Task {
		return fmt.Errorf("%s is a model for the task %s: set model.task", r.modelDir, r.model.Config.Task)
	}
	if n := r.tokenizer.VocabSize(); n > r.model.Config.Vocab {
		return fmt.Errorf("%s: the tokenizer has %d tokens but the model's vocabulary is %d: the two do not belong together", r.modelDir, n,
			r.model.Config.Vocab)
	}
	if n := r.Recipe.Prepare.SequenceLength; n > r.model.Config.MaxPositions {
		return fmt.Errorf("sequence_length is %d but the model has %d positions: choose at most that", n, r.model.Config.MaxPositions)
	}
	if err := r.findTeachers(); err != nil {
		return err
	}
	for _, s := range infer.Warnings(r.modelDir, r.modelDir, r.Recipe.Train.InitAdapter) {
		r.Tell("warning: %s", s)
	}
	// What is wrong with the method shows before anything is written.
	a, err := r.Adapter(r.Recipe.Train.InitAdapter)
	if err != nil {
		return err
	}
	if err := fits(a, r.Recipe.Prepare.SequenceLength, r.model.Config.MaxPositions); err != nil {
		return err
	}
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return err
	}
	if err := job.Args.Validate(); err != nil {
		return err
	}
	if err := train.Trainable(&job.Args, a); err != nil {
		return err
	}
	if err := r.fitsMachine(); err != nil {
		return err
	}
	if err := r.place(); err != nil {
		return err
	}
	text := r.text
	path := filepath.Join(r.Output, RecipeFile)
	if old, err := storage.ReadSmall(path, storage.KindState); err == nil && !r.sameRecipe(old) {
		return otherRecipe(r.Output)
	} else if errors.Is(err, fs.ErrNotExist) {
		if es, err := os.ReadDir(r.Output); err == nil && len(es) > 0 && !ours(es) && !r.lacksRecipe() {
			return fmt.Errorf("%w: %s holds files that are not a run's: choose another --output", storage.ErrInUse, r.Output)
		}
	}
	var began []string
	for _, p := range []string{path, r.Output} {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			began = append(began, p)
		}
	}
	if err := storage.MkdirAll(r.Output); err != nil {
		return err
	}
	if r.lock, err = storage.LockDir(r.Output); err != nil {
		if errors.Is(err, storage.ErrLocked) {
			return fmt.Errorf("%w: %w", storage.ErrInUse, err)
		}
		return err
	}
	if err := storage.Sweep(r.Output); err != nil { // what a killed run has left
		return err
	}
	if err := r.readBegun(); err != nil {
		return err
	}
	r.pool = pool.New(0)
	if r.Runner.Folder, err = filepath.Abs(r.Output); err != nil {
		return err
	}
	if r.Runner.Job, err = ID(r.Product()); err != nil {
		return err
	}
	if err := storage.WriteFile(path, text); err != nil || r.store == "" {
		r.began = began
		return err
	}
	return storage.WriteFile(r.Product(RecipeFile), text)
}

func ours(es []fs.DirEntry) bool {
	for _, e := range es {
		if !strings.HasPrefix(e.Name(), ".") {
			return false
		}
	}
	return true
}

// Close ends the run and gives the folder free.
func (r *Run) Close() {
	r.pool.Close()
	if r.lock != nil && !r.undo() {
		r.lock.Unlock()
	}
}

// undo takes back what Open wrote, when the run made nothing more, so that a folder which a wrong input leaves is no run's. It says whether
// it did.
func (r *Run) undo() bool {
	entries, err := os.ReadDir(r.Output)
	if err != nil || !slices.Contains(r.began, filepath.Join(r.Output, RecipeFile)) {
		return false
	}
	for _, e := range entries {
		if e.Name() != storage.LockName && e.Name() != RecipeFile {
			return false
		}
	}
	os.Remove(r.began[0])
	r.lock.Remove()
	for _, p := range r.began[1:] {
		os.Remove(p)
	}
	return true
}
