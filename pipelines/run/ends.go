package run

import (
	"fmt"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize"
)

// ends say what stands around a text, in training, scoring and generating alike. A run that version 0.1 began has none of its own.
func (r *Run) ends() tokenize.Ends {
	if r.before {
		return tokenize.Ends{}
	}
	return r.Recipe.Prepare.Ends
}

// openTokenizer opens the tokenizer in a folder. A run that version 0.1 began goes on as that version did.
func (r *Run) openTokenizer(dir string) (tokenize.Tokenizer, error) {
	load := tokenize.LoadEngine
	if r.before {
		load = tokenize.LoadBefore
	}
	return load(dir, tokenize.Engine(r.Recipe.Model.TokenizerEngine))
}

// loadTokenizer opens the run's tokenizer and checks that it has the tokens that are wanted around a text.
func (r *Run) loadTokenizer() (err error) {
	r.findBefore()
	if r.tokenizer, err = r.openTokenizer(r.tokenizerDir()); err != nil {
		return err
	}
	if r.frame, err = r.ends().Frame(r.tokenizer); err != nil {
		return fmt.Errorf("tokenizer %s: prepare.%w", r.tokenizerDir(), err)
	}
	return nil
}

// findBefore finds out whether the output folder is one that version 0.1 began, which goes on as it was: its recipe lacks the keys of what
// stands around a text, or its shards' manifest does not say it. What cannot be read is an error where the folder is opened.
func (r *Run) findBefore() {
	r.text, r.before = r.Recipe.YAML(), false
	if r.Output == "" || r.Runner.Dry() {
		return
	}
	path := storage.Join(r.Output, RecipeFile)
	text, err := storage.ReadSmall(path, storage.KindState)
	if err != nil || !r.sameRecipe(text) {
		return
	}
	l, err := recipe.Parse(path, text)
	if err != nil {
		return
	}
	if _, ok := l["prepare"]["add_bos"]; !ok {
		r.text, r.before = text, true
	} else if m, err := datasets.ReadManifest(storage.Join(r.Output, "shards")); err == nil {
		r.before = m.AddBOS == nil && m.AddEOS == nil
	}
}
