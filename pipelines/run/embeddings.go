package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/train"
)

// findEmbeddings finds the adapter to start from that brings embeddings of its own for the base, so that the model is opened with them.
func (r *Run) findEmbeddings() (err error) {
	from := []string{r.Recipe.Train.InitAdapter}
	if dir := r.Recipe.Keys.InitAdapters; dir != "" {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // that it is missing is said later
			return fmt.Errorf("keys.init_adapters: %w", err)
		}
		for _, e := range entries {
			from = append(from, filepath.Join(dir, e.Name()))
		}
	}
	r.brought, err = train.WithEmbeddings(r.modelDir, r.task(), from...)
	return err
}

// tokenizerDir is the folder of the run's tokenizer: that of the adapter whose embeddings it starts from, where that has one.
func (r *Run) tokenizerDir() string { return infer.TokenizerOf(r.modelDir, r.brought.Embeddings) }
