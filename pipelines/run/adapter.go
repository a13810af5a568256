package run

import (
	"fmt"

	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/train"
)

// Adapter opens the adapter that dir or the recipe names over the base, or makes the new one of the recipe where dir is empty.
func (r *Run) Adapter(dir string) (*peft.Adapter, error) {
	config, err := r.methodConfig()
	if err != nil {
		return nil, err
	}
	name, _ := r.Recipe.Method["peft_type"].(string)
	return train.OpenAdapter(r.model, r.Fetched(dir), name, config, r.BaseName(), r.Recipe.Train.Seed)
}

// methodConfig is the method's fields. prompt_tuning_init_text is tokenized here, by the tokenizer that the recipe names or the model's, as
// transformers does it: with the tokens that the tokenizer adds.
func (r *Run) methodConfig() (map[string]any, error) {
	config := map[string]any{}
	for k, v := range r.Recipe.Method {
		if k != "peft_type" {
			config[k] = v
		}
	}
	text, _ := config["prompt_tuning_init_text"].(string)
	if init, _ := config["prompt_tuning_init"].(string); init != "TEXT" || text == "" {
		return config, nil
	}
	ref, _ := config["tokenizer_name_or_path"].(string)
	if ref == "" {
		ref = r.modelDir
		config["tokenizer_name_or_path"] = r.BaseName()
	}
	dir, err := assets.Model(ref, r.Tell)
	if err != nil {
		return nil, fmt.Errorf("tokenizer_name_or_path: %w", err)
	}
	tk, err := r.openTokenizer(dir)
	if err != nil {
		return nil, err
	}
	ids, err := tk.AppendIDs(nil, text, true)
	if err != nil {
		return nil, fmt.Errorf("prompt_tuning_init_text: %w", err)
	}
	config["prompt_tuning_init_token_ids"] = ids
	return config, nil
}

// fits checks that a sequence and the adapter's virtual tokens have positions in the model.
func fits(a *peft.Adapter, sequence, positions int) error {
	v := a.Prompt().Positions()
	switch {
	case v >= positions:
		return fmt.Errorf("num_virtual_tokens is %d but the model has %d positions: no text fits", v, positions)
	case v == 0 && sequence > positions:
		return fmt.Errorf("sequence_length is %d but the model has %d positions: choose at most that", sequence, positions)
	case sequence+v > positions:
		return fmt.Errorf("sequence_length is %d and the method puts %d virtual tokens before a text, but the model has %d positions: "+
			"choose a sequence_length of at most %d",
			sequence, v, positions, positions-v)
	}
	return nil
}
