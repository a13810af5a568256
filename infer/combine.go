package infer

import (
	"fmt"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// Combine makes one LoRA adapter of several adapter folders over the model in the folder dir and writes it to the folder to.
func Combine(dir string, adapters []string, c peft.Combination, to string) error {
	m, err := load(dir, "", func(b *Base) (*Model, error) { return b.With("") }, adapters...)
	if err != nil {
		return err
	}
	defer m.Close()
	var as []*peft.Adapter
	for _, a := range adapters {
		ad, err := train.OpenAdapter(m.Base, a, "", nil, m.Dir, 0)
		if err != nil {
			return err
		}
		as = append(as, ad)
	}
	out, err := peft.Combine(as, c)
	if err != nil {
		return err
	}
	params, err := out.NewParams(1)
	if err != nil {
		return err
	}
	defer params.Free()
	card := peft.Card{Version: version.Version, Training: [][2]string{{"combination_type", c.Type}}}
	for i, a := range adapters {
		what := fmt.Sprintf("%s, weight %g", filepath.Base(filepath.Clean(a)), c.Weights[i])
		card.Training = append(card.Training, [2]string{fmt.Sprintf("adapter %d", i+1), what})
	}
	return out.Save(to, params, 0, card)
}
