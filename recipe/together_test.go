package recipe

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/train"
)

// TestRowsSettings: what an optimiser, a schedule or a compression does not take is refused when the recipe is read, by the check with
// which a training is opened.
func TestRowsSettings(t *testing.T) {
	base := layer(t, "model:\n  path: m\ndata:\n  input: [a]\n")
	for text, want := range map[string]string{
		"train:\n  optim_args: betaz=3\n":                                        `optim_args: "betaz=3" is not a setting of adamw_torch`,
		"train:\n  optim: sgd\n  optim_args: momentum=much\n":                    "optim_args: momentum=\"much\" is not a number",
		"train:\n  lr_scheduler_type: warmup_stable_decay\n":                     "num_decay_steps",
		"train:\n  lr_scheduler_kwargs: {num_cycles: 2}\n":                       "\"num_cycles\" is not a setting of linear",
		"train:\n  optim: lorafa\n  loraplus_lr_ratio: 2\n":                      "loraplus_lr_ratio",
		"train:\n  compression: topk\n  compression_args: density=2\n":           "compression_args: density is 2",
		"train:\n  lr_scheduler_type: cosine\n  lr_scheduler_kwargs: {a: [1]}\n": "lr_scheduler_kwargs: \"a\"",
	} {
		_, err := Resolve(base, layer(t, text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s%v, want %q", text, err, want)
		}
		r := Default()
		if err := layer(t, text).over(&r); err != nil {
			t.Fatal(err)
		}
		a := r.Train.Args
		a.Order = train.OrderEpochs
		if opened := a.Validate(); err == nil || opened == nil || opened.Error() != err.Error() {
			t.Errorf("%sa training is opened with %v, the recipe read with %v", text, opened, err)
		}
	}
}

// over lays a layer's values over a recipe, without a check.
func (l Layer) over(r *Recipe) error {
	for section, kv := range l {
		for k, v := range kv {
			raw, err := json.Marshal(v)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(raw, r.field(section+"."+k).Addr().Interface()); err != nil {
				return err
			}
		}
	}
	return nil
}

// TestOneCheck: a recipe says of texts with classes, delimiters and languages what their owner says.
func TestOneCheck(t *testing.T) {
	pack := Default().Prepare.PackOptions
	pack.Classes, pack.Strategy = true, datasets.PackWrapped
	together := Default().Prepare.PackOptions
	together.Classes, together.IsolateDocuments = true, false
	delimiter := datasets.Options{Delimiter: "ab"}.Validate()
	for text, owner := range map[string]error{
		"model:\n  task: SEQ_CLS\nprepare:\n  packing: wrapped\n":             settings.In("prepare", pack.Validate()),
		"model:\n  task: SEQ_CLS\nprepare:\n  isolate_documents: false\n":     settings.In("prepare", together.Validate()),
		"data:\n  delimiter: ab\n":                                            settings.In("data", delimiter),
		"data:\n  input: []\n  sources: {x: {input: a, translation: [en]}}\n": datasets.Options{Translation: []string{"en"}}.Validate(),
	} {
		_, err := Resolve(layer(t, "model:\n  path: m\ndata:\n  input: [a]\n"), layer(t, text))
		if err == nil || owner == nil || !strings.HasSuffix(err.Error(), owner.Error()) {
			t.Errorf("%s%v, and the owner says %v", text, err, owner)
		}
	}
}
