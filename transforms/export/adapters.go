package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/train"
)

func init() {
	register.DoFn2x2[context.Context, train.AdapterRef, Exported, error](&AdapterFn{})
	beam.RegisterType(reflect.TypeFor[Exported]())
}

// Settings say where and how [Adapter] writes.
type Settings struct {
	// Out is a folder that workers see, or a location: of an adapter with a name, the folder of that name in it. A format has a folder
	// there: "adapter" is HF PEFT's.
	Out string
	export.Config
	Card peft.Card // what the model card says beside the training
}

// Exported is an adapter that was written.
type Exported struct {
	Name string `beam:"name"`
	Dir  string `beam:"dir"`  // of HF PEFT's adapter
	Hash string `beam:"hash"` // train.AdapterRef's
}

// Adapter writes adapters (PCollection<train.AdapterRef>) as folders that HF PEFT opens, and in the other formats that the settings ask
// for, and returns where they are (PCollection<Exported>). An adapter of a name that was written before is replaced. Wrong settings panic.
func Adapter(s beam.Scope, set Settings, adapters beam.PCollection) beam.PCollection {
	err := settings.CheckSet(&set.Config)
	if set.Out == "" {
		err = errors.New("setting Out is not set: it is the folder or the location of the adapters")
	}
	if err != nil {
		panic(fmt.Errorf("export.Adapter: %w", err))
	}
	raw, err := json.Marshal(&set)
	if err != nil {
		panic(fmt.Errorf("export.Adapter: %w", err))
	}
	s = s.Scope("export.Adapter")
	return beam.ParDo(s, &AdapterFn{Settings: string(raw)}, beam.Reshuffle(s, adapters))
}

// AdapterFn writes adapters.
type AdapterFn struct {
	Settings string // as JSON
}

// ProcessElement writes one. A retry writes the same bytes.
func (f *AdapterFn) ProcessElement(ctx context.Context, a train.AdapterRef) (Exported, error) {
	var set Settings
	if err := json.Unmarshal([]byte(f.Settings), &set); err != nil {
		return Exported{}, fmt.Errorf("export: the settings: %w", err)
	}
	model, at, err := a.Open()
	if err != nil {
		return Exported{}, err
	}
	j := Job{Model: model, At: at, Config: set.Config, Card: set.Card, Before: &measure.Results{}, Output: set.Out}
	if a.Name != "" {
		j.Output = storage.Join(set.Out, a.Name)
	}
	j.Card.Version = version.Version
	j.Card.Training = append([][2]string{{"steps", fmt.Sprint(a.Steps)}, {"tokens", fmt.Sprint(a.Tokens)},
		{"learning_rate", fmt.Sprint(model.Args.LearningRate)}, {"seed", fmt.Sprint(model.Args.Seed)}}, j.Card.Training...)
	if a.Classes != "" {
		if err := json.Unmarshal([]byte(a.Classes), &j.Classes); err != nil {
			return Exported{}, fmt.Errorf("export: the classes of the adapter %q: %w", a.Name, err)
		}
	}
	if err := j.writeAll(ctx, func(t *core.Trained) (err error) {
		j.Card.Trained, err = core.TrainedCount(&model.Args, t.Adapter)
		return err
	}); err != nil {
		return Exported{}, fmt.Errorf("exporting the adapter %q: %w", a.Name, err)
	}
	return Exported{Name: a.Name, Dir: storage.Join(j.Output, export.AdapterFolder), Hash: a.Hash}, nil
}
