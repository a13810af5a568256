package run

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize/chat"
	"github.com/adaptflow/adaptflow/train"
)

// adopt gives settings that the recipe leaves to the model the values with which the run in the output folder was begun, where there is
// one of the same recipe else: a run goes on as it was begun.
func (r *Run) adopt() {
	own := *r.Recipe
	r.Recipe = &own // what is chosen is the run's
	if r.Output == "" || r.Runner.Dry() || len(own.Auto) == 0 && own.Model.DType != recipe.Auto {
		return
	}
	path := storage.Join(r.Output, RecipeFile)
	text, err := storage.ReadSmall(path, storage.KindState)
	if err != nil {
		return // what cannot be read is reported where the folder is opened
	}
	l, err := recipe.Parse(path, text)
	if err != nil {
		return
	}
	was, err := recipe.Resolve(l)
	if err != nil {
		return
	}
	as := own
	as.Adopt(was)
	if bytes.Equal(as.YAML(), was.YAML()) {
		own.Adopt(was)
	}
}

// settle gives settings that the recipe leaves to the model their values, once the model is known.
func (r *Run) settle() error {
	base := recipe.Base{Parameters: r.model.ParamCount()}
	if slices.Contains(r.Recipe.Auto, recipe.KeyChatTemplate) {
		templates, err := chat.Load(r.modelDir)
		if err != nil {
			return fmt.Errorf("chat template: %w", err)
		}
		base.ChatTemplate = len(templates) > 0
	}
	if len(r.Recipe.Auto) > 0 {
		r.Chosen = r.Recipe.Choose(base)
		r.findBefore() // the recipe that the output folder has is the one with what was chosen
	}
	if r.Recipe.Model.DType == recipe.Auto {
		r.Chosen = append(r.Chosen, recipe.Choice{Key: recipe.KeyDType, Value: train.ResolveDType(recipe.Auto), Why: whyDType()})
	}
	for _, c := range r.Chosen {
		r.Tell("%s", c)
	}
	return nil
}

// whyDType says why auto became what it is.
func whyDType() string {
	if kernels.WantsHalf() {
		return "this processor multiplies bfloat16 faster than float32"
	}
	return "this processor multiplies float32 no slower than bfloat16"
}
