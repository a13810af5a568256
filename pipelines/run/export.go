package run

import (
	"context"
	"fmt"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// ExportTrained writes the adapter of the newest checkpoint, or of the best where the recipe asks for it.
func (r *Run) ExportTrained() error {
	st, err := r.State()
	if err != nil {
		return err
	}
	if headOf(r.Recipe).classes != nil { // the data tells the classes; it has been prepared
		if _, err := r.Prepare(context.Background()); err != nil {
			return err
		}
	}
	a, params, err := r.Trained(st)
	if err != nil {
		return err
	}
	defer params.Free()
	if err := r.Export(a, params, st, &measure.Results{}, &measure.Results{}); err != nil {
		return err
	}
	return r.Publish()
}

// ExportFolder writes an adapter's folder as the adapter of the output, in the formats that the recipe asks for.
func (r *Run) ExportFolder(from string) error {
	if err := export.Write(&export.Source{Base: r.modelDir, Folder: from}, &r.Recipe.Export, r.Output); err != nil {
		return err
	}
	return r.Publish()
}

// Export writes the adapter in the formats that the recipe asks for.
func (r *Run) Export(a *peft.Adapter, params *nn.Params, st *train.State, before, after *measure.Results) error {
	if st.TokensSeen == 0 {
		return fmt.Errorf("no token with a loss was trained on in %d steps, so the adapter is as it began and is not exported: look at "+
			"%s, raise sequence_length where prompts fill it, "+
			"and choose another --output", st.Step, r.Product(RejectsDir))
	}
	args := r.Args()
	trained, err := train.TrainedCount(&args, a)
	if err != nil {
		return err
	}
	card := peft.Card{Version: version.Version, Trained: trained,
		Training: [][2]string{{"steps", fmt.Sprint(st.Step)}, {"tokens", fmt.Sprint(st.TokensSeen)},
			{"learning_rate", fmt.Sprint(r.Recipe.Train.LearningRate)}, {"seed", fmt.Sprint(r.Recipe.Train.Seed)}}}
	card.Training = append(card.Training, r.Teaching()...)
	changes := measure.Compare(before, after)
	card.Results = measure.Card(&changes)
	if r.classes != nil {
		if card.ModelConfig, err = r.model.ClassifierConfig(); err != nil {
			return err
		}
	}
	return export.Write(&export.Source{Base: r.modelDir, Adapter: a, Params: params, Card: card}, &r.Recipe.Export, r.Output)
}

// checkExports refuses what could not be written, before it is trained.
func (r *Run) checkExports() error {
	a, err := r.Adapter(r.Recipe.Train.InitAdapter)
	if err != nil {
		return err
	}
	return export.Check(&r.Recipe.Export, a)
}
