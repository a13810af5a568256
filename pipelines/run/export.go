package run

import (
	"context"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/end"
	exports "github.com/adaptflow/adaptflow/transforms/export"
)

// ExportTrained writes the adapter of the newest checkpoint, or of the best where the recipe asks for it.
func (r *Run) ExportTrained(ctx context.Context) error {
	st, err := r.State()
	if err != nil {
		return err
	}
	if headOf(r.Recipe).classes != nil { // the data tells the classes; it has been prepared
		if _, err := r.Prepare(ctx); err != nil {
			return err
		}
	}
	if err := r.Export(ctx, st, &measure.Results{}, &measure.Results{}); err != nil {
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

// Export writes the adapter in the formats that the recipe asks for, in a pipeline. The card says how the scores after training differ from
// those before.
func (r *Run) Export(ctx context.Context, st *train.State, before, after *measure.Results) error {
	job, err := r.exporting(ctx, st, before)
	if err != nil {
		return err
	}
	return r.exportWith(ctx, job, after)
}

// exportWith runs the pipeline that writes an adapter whose scores after training are known.
func (r *Run) exportWith(ctx context.Context, job exports.Job, after *measure.Results) error {
	raw, err := storage.MarshalJSON(after, "")
	if err != nil {
		return err
	}
	return r.export(ctx, job, string(raw))
}

// Save writes the adapter of a state in HF PEFT's format to a folder, or a location where the run works at one, in a pipeline.
func (r *Run) Save(ctx context.Context, st *train.State, card peft.Card, to string) error {
	at := r.PointOf(st)
	model, err := r.modelJob(ctx, at)
	if err != nil {
		return err
	}
	card.Version = version.Version
	return r.export(ctx, exports.Job{Model: model, At: at, Card: card, Output: to, Alone: true}, "")
}

// export runs the pipeline that writes an adapter. after are the results after training as JSON.
func (r *Run) export(ctx context.Context, job exports.Job, after string) error {
	p, s := runners.NewPipeline()
	out, err := exports.Write(s, job, beam.Create(s, after))
	if err != nil {
		return err
	}
	end.Of(s, out)
	if err := bare(r.Runner.Run(ctx, p, "adaptflow-export")); err != nil {
		return err
	}
	return r.name(ctx, &job)
}

// name puts the base model's name into what workers wrote that do not know it.
func (r *Run) name(ctx context.Context, job *exports.Job) error {
	if r.Work == "" {
		return nil
	}
	if err := r.Held(); err != nil {
		return err
	}
	return job.Name(ctx, r.BaseName())
}

// exporting is the job that writes the adapter of a state in the formats that the recipe asks for.
func (r *Run) exporting(ctx context.Context, st *train.State, before *measure.Results) (job exports.Job, err error) {
	if st.TokensSeen == 0 {
		return job, fmt.Errorf("no token with a loss was trained on in %d steps, so the adapter is as it began and is not exported: look "+
			"at %s, raise sequence_length where prompts fill it, and choose another --output", st.Step, r.Product(RejectsDir))
	}
	at := r.PointOf(st)
	job = exports.Job{At: at, Config: r.Recipe.Export, Before: before, Classes: r.classes, Output: r.Output}
	if r.Work != "" {
		job.Output = r.store
	}
	if job.Model, err = r.modelJob(ctx, at); err != nil {
		return job, err
	}
	trained, _, err := r.Parameters()
	if err != nil {
		return job, err
	}
	training := append(r.origin(), [2]string{"steps", fmt.Sprint(st.Step)}, [2]string{"tokens", fmt.Sprint(st.TokensSeen)},
		[2]string{"learning_rate", fmt.Sprint(r.Recipe.Train.LearningRate)}, [2]string{"seed", fmt.Sprint(r.Recipe.Train.Seed)},
		[2]string{"kernel set", kernels.Active().String() + ", " + r.dtype})
	job.Card = peft.Card{Version: version.Version, Trained: trained, Training: append(training, r.Teaching()...)}
	return job, nil
}

// Parameters counts the values that training moves, and those of model and adapter together.
func (r *Run) Parameters() (trained int, total int64, err error) {
	init, err := r.initDir()
	if err != nil {
		return 0, 0, err
	}
	a, err := r.Adapter(init)
	if err != nil {
		return 0, 0, err
	}
	args := r.Args()
	trained, err = train.TrainedCount(&args, a)
	return trained, a.Total(r.model.ParamCount()), err
}

// checkExports refuses what could not be written, before it is trained.
func (r *Run) checkExports() error {
	a, err := r.Adapter(r.Recipe.Train.InitAdapter)
	if err != nil {
		return err
	}
	return export.Check(&r.Recipe.Export, a)
}
