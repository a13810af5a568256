package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
)

// begunFile, among the records of stages, says how a run was begun. A run goes on as it was begun, whatever newer versions of the program
// do.
const begunFile = "begun.json"

type begun struct {
	// Order is train.Args.Order: how epochs follow one another.
	Order int `json:"order"`
	// SharedPrompts says that it heeds train.Args.SharedPrompts.
	SharedPrompts bool `json:"shared_prompts,omitempty"`
}

// readBegun finds out how the run in the output folder was begun. Folders of versions that took no note of it have records of stages alone.
func (r *Run) readBegun() error {
	dir := filepath.Join(r.Output, "stages")
	path := filepath.Join(dir, begunFile)
	raw, err := storage.ReadSmall(path, storage.KindState)
	if errors.Is(err, fs.ErrNotExist) {
		es, err := os.ReadDir(dir)
		r.begunBefore = len(es) > 0 || r.before
		if r.sharesPrompts = !r.begunBefore; errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	if err != nil {
		return err
	}
	var b begun
	if err := json.Unmarshal(raw, &b); err != nil {
		return fmt.Errorf("%s: %w: restore it, or choose another --output", path, err)
	}
	r.begunBefore, r.sharesPrompts = b.Order == train.OrderWrapped, b.SharedPrompts
	return nil
}

// noteBegun notes how the run was begun, with the first record of a stage.
func (r *Run) noteBegun() error {
	path := filepath.Join(r.Output, "stages", begunFile)
	if _, err := os.Stat(path); err == nil || r.begunBefore {
		return nil
	}
	if err := storage.WriteJSON(path, begun{Order: train.OrderEpochs, SharedPrompts: true}); err != nil {
		return err
	}
	return r.Keep(path)
}

// sameRecipe says whether the text in an output folder is that of the recipe. Settings that did not exist when it was written have their
// defaults.
func (r *Run) sameRecipe(old []byte) bool {
	text := r.Recipe.YAML()
	if bytes.Equal(old, text) {
		return true
	}
	l, err := recipe.Parse(RecipeFile, old)
	if err != nil {
		return false
	}
	was, err := recipe.Resolve(l)
	return err == nil && bytes.Equal(was.YAML(), text)
}
