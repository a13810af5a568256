package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/train"
)

// fetchStarts brings the adapters to start from that the recipe names on object stores to this machine.
func (r *Run) fetchStarts() (err error) {
	r.fetched = map[string]string{}
	for _, s := range [][2]string{{"train.init_adapter", r.Recipe.Train.InitAdapter}, {"keys.init_adapters", r.Recipe.Keys.InitAdapters}} {
		if s[1] == "" || storage.IsLocal(s[1]) {
			continue
		}
		if r.Runner.Dry() {
			return fmt.Errorf("%s: %s: a dry run asks no object store: name a copy on this machine", s[0], s[1])
		}
		if r.fetched[s[1]], err = pulled.FromStore(context.Background(), s[1]); err != nil {
			return fmt.Errorf("%s: %w", s[0], err)
		}
	}
	return nil
}

// Fetched is the folder on this machine of adapters to start from that the recipe names: the copy of one on an object store.
func (r *Run) Fetched(ref string) string {
	if dir := r.fetched[ref]; dir != "" {
		return dir
	}
	return ref
}

// findEmbeddings finds the adapter to start from that brings embeddings of its own for the base, so that the model is opened with them.
func (r *Run) findEmbeddings() (err error) {
	if err := r.fetchStarts(); err != nil {
		return err
	}
	from := []string{r.Fetched(r.Recipe.Train.InitAdapter)}
	if dir := r.Fetched(r.Recipe.Keys.InitAdapters); dir != "" {
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
