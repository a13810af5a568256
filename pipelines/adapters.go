package pipelines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	core "github.com/adaptflow/adaptflow/train"
)

// NamedAdapter is the name and the folder of an adapter given as NAME=DIR, or as DIR, whose name is then the folder's.
func NamedAdapter(given string) (name, dir string) {
	name, dir, ok := strings.Cut(given, "=")
	if !ok {
		return filepath.Base(filepath.Clean(given)), given
	}
	return name, dir
}

// LoadAdapters loads the model at ref with several adapter folders at once, each as [NamedAdapter] has it. names says, for each
// row of a batch, which adapter it uses ("__base__" for none); a single name is for all rows. Adapters that a name joins by "+" are added up.
func LoadAdapters(ref string, adapters, names []string) (*Loaded, error) {
	var labels, dirs []string
	for _, a := range adapters {
		name, dir := NamedAdapter(a)
		labels, dirs = append(labels, name), append(dirs, dir)
	}
	l, err := loadBase(ref, "float32", model.Task{}, dirs...)
	if err != nil {
		return nil, err
	}
	set := &peft.Set{}
	for i, dir := range dirs {
		ad, err := core.OpenAdapter(l.Model, dir, "", nil, l.Dir, 0)
		if err != nil {
			return nil, err
		}
		if err := set.Add(labels[i], ad); err != nil {
			return nil, err
		}
	}
	for _, n := range names {
		slot, err := set.Select(strings.Split(n, "+")...)
		if err != nil {
			return nil, err
		}
		l.rows = append(l.rows, slot)
	}
	l.Adapters = set.Adapters()
	return l, nil
}

// segments gives a row of a batch its adapter.
func (l *Loaded) segments(s *nn.Step, row, rows int) error {
	if l.rows == nil {
		return nil
	}
	if len(l.rows) != 1 && len(l.rows) != rows {
		return fmt.Errorf("adapter-names has %d names for %d rows: give one for all, or one a row", len(l.rows), rows)
	}
	s.Segments = []nn.Segment{{End: len(s.Tokens), Slot: l.rows[min(row, len(l.rows)-1)]}}
	return nil
}

// Combine makes one LoRA adapter of several adapter folders over the model at ref and writes it to the folder to.
func Combine(ref string, adapters []string, c peft.Combination, to string) error {
	l, err := loadBase(ref, "float32", model.Task{}, adapters...)
	if err != nil {
		return err
	}
	defer l.Close()
	var as []*peft.Adapter
	for _, a := range adapters {
		ad, err := core.OpenAdapter(l.Model, a, "", nil, l.Dir, 0)
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
		card.Training = append(card.Training, [2]string{fmt.Sprintf("adapter %d", i+1), fmt.Sprintf("%s, weight %g", filepath.Base(filepath.Clean(a)), c.Weights[i])})
	}
	return out.Save(to, params, 0, card)
}

// Unmerge writes the base model that a merged model was made of: the model at ref with the adapter taken out of its weights.
func Unmerge(ref, adapter, to, dtype string) error {
	if _, err := os.Stat(filepath.Join(to, "config.json")); err == nil {
		return fmt.Errorf("%w: %s already holds a model", storage.ErrInUse, to)
	}
	l, err := LoadModel(ref, adapter)
	if err != nil {
		return err
	}
	defer l.Close()
	params, err := l.Adapter.NewParams(1)
	if err != nil {
		return err
	}
	defer params.Free()
	changed, err := l.Adapter.Unmerge(params, 0, l.Model.Tensor)
	if err != nil {
		return err
	}
	return l.Model.Save(to, dtype, changed)
}
