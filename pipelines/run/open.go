package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
func (r *Run) Open() error {
	r.opened = time.Now()
	for _, step := range []func() error{r.findModel, r.hold, r.settle, r.judge, r.place, r.knows, r.claim} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// findModel finds what the recipe names: the runner's stores, the model's folder, its tokenizer.
func (r *Run) findModel() (err error) {
	if err := r.Runner.CheckOutput(r.Output, r.Afar); err != nil {
		return err
	}
	if r.Runner.Schemes, err = runners.Schemes(r.Recipe, r.Output); err != nil {
		return err
	}
	r.adopt()
	if r.modelDir, err = r.baseFolder(r.Recipe.Model.Path); err != nil {
		return err
	}
	if err := r.findEmbeddings(); err != nil {
		return err
	}
	r.dtype = train.ResolveDType(r.Recipe.Model.Storage())
	return r.loadTokenizer()
}

// baseFolder is the folder of a model; a dry run takes only one that is on this machine.
func (r *Run) baseFolder(ref string) (string, error) {
	if r.Runner.Dry() {
		return assets.Here(ref)
	}
	return assets.Model(ref, r.Tell)
}

// judge shows what is wrong with the model, the method and the settings of training before anything is written.
func (r *Run) judge() error {
	if headOf(r.Recipe).classes != nil {
		defer r.release() // until the data is prepared
	}
	if r.model.Config.Task != r.Recipe.Model.Task {
		return fmt.Errorf("%s is a model for the task %s: set model.task", r.modelDir, r.model.Config.Task)
	}
	if n := r.tokenizer.VocabSize(); n > r.model.Config.Vocab {
		return fmt.Errorf("%s: the tokenizer has %d tokens but the model's vocabulary is %d: the two do not belong together", r.modelDir, n,
			r.model.Config.Vocab)
	}
	if err := r.findTeachers(); err != nil {
		return err
	}
	for _, s := range infer.Warnings(r.modelDir, r.modelDir, r.Fetched(r.Recipe.Train.InitAdapter)) {
		r.Tell("warning: %s", s)
	}
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
	if _, err := rounds(&job); err != nil {
		return err
	}
	if err := train.Trainable(&job.Args, a); err != nil {
		return err
	}
	return r.fitsMachine()
}

// knows refuses an output folder that is another recipe's or no run's.
func (r *Run) knows() error {
	old, err := storage.ReadSmall(filepath.Join(r.Output, RecipeFile), storage.KindState)
	if err == nil && !r.sameRecipe(old) {
		return otherRecipe(r.Output)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if es, err := os.ReadDir(r.Output); err == nil && len(es) > 0 && !ours(es) && !r.lacksRecipe() {
			return fmt.Errorf("%w: %s holds files that are not a run's: choose another --output", storage.ErrInUse, r.Output)
		}
	}
	return nil
}

// claim makes the output folder where there is none, locks it, removes what a killed run has left, and writes the recipe.
func (r *Run) claim() (err error) {
	recipeFile := filepath.Join(r.Output, RecipeFile)
	var began []string
	for _, p := range []string{recipeFile, r.Output} {
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
	if err := storage.Sweep(r.Output); err != nil {
		return err
	}
	if r.Work != "" && (r.store == "" || !r.Afar) {
		return fmt.Errorf("the work location %s is of a kind of run that works at one, with an output on an object store", r.Work)
	}
	if r.store != "" && r.Afar {
		if err := r.openWork(context.Background()); err != nil {
			return err
		}
	}
	if err := r.readBegun(); err != nil {
		return err
	}
	r.pool = pool.New(0)
	if r.Runner.Folder, err = filepath.Abs(r.Output); err != nil {
		return err
	}
	r.Runner.Afar = r.Work != "" && r.Afar
	r.Runner.Title = path.Base(filepath.ToSlash(r.Product()))
	if r.Runner.Job, err = ID(r.Product()); err != nil {
		return err
	}
	if err := storage.WriteFile(recipeFile, r.text); err != nil || r.store == "" || r.Runner.Dry() {
		r.began = began
		return err
	}
	return storage.WriteFile(r.Product(RecipeFile), r.text)
}

func ours(es []fs.DirEntry) bool {
	for _, e := range es {
		if !strings.HasPrefix(e.Name(), ".") {
			return false
		}
	}
	return true
}

// Close ends the run, frees the model where no one else of the process holds it, and gives the folder free.
func (r *Run) Close() {
	r.pool.Close()
	r.release()
	if r.lease != nil {
		_ = r.lease.Release(context.Background()) // one that was lost, or cannot be given back, ends by its time
	}
	if r.lock != nil && !r.undo() {
		r.lock.Unlock()
	}
	if r.lock != nil && r.store != "" && r.Runner.Dry() {
		_ = os.RemoveAll(r.Output) // of the cache; the next dry run empties it
	}
}

// undo takes back what Open wrote, when the run made nothing more, so that a folder which a wrong input leaves is not a run's. It says
// whether it did.
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
