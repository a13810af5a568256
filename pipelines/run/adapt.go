package run

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/pipelines/drive"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	core "github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/prepare"
)

// Run is one run of a recipe in an output folder. Each step of it leaves a record there, so that the same run again continues.
type Run struct {
	Recipe *recipe.Recipe
	Output string
	// Runner is where its pipelines run, as [runners.Runner.Resolve] returns it.
	Runner runners.Runner
	// Say is told what happens, in whole lines; nil for nobody.
	Say func(format string, a ...any)
	// Step hears of every optimiser step and evaluation; nil for nobody.
	Step func(total int, info *core.StepInfo, eval *core.Eval)

	// Summary is the file that makes the run finished; "" for MetricsFile.
	Summary string
	// HoldOut: text of the input is held out also where the recipe names eval_input, for a kind of run that chooses by it.
	HoldOut bool

	// begunBefore: a version of the program began it whose epochs went on in one another, as they still do then.
	begunBefore bool

	lock      *storage.Lock
	store     string   // the output as given, where it is on an object store; Output is a folder of this machine then
	began     []string // what Open made: the recipe's file, and the output folder
	modelDir  string
	brought   model.Task // embeddings of the adapter to start from
	teachers  []string   // folders of the models to distil from
	model     *model.Model
	dtype     string   // resolved
	classes   []string // of a classifier, by number; nil before the data is prepared
	tokenizer tokenize.Tokenizer
	frame     *tokenize.Frame // what stands around a text
	before    bool            // version 0.1 began the run, which goes on as that version did
	text      []byte          // the recipe as the output folder has it
	pool      *pool.Pool
}

// Model is the base model, nil before [Run.Open]; of a classifier, before [Run.Prepare].
func (r *Run) Model() *model.Model { return r.model }

// The files of an output folder.
const (
	RecipeFile  = "recipe.resolved.yaml"
	MetricsFile = "metrics.json"
	AdapterDir  = export.AdapterFolder
	RejectsDir  = "rejects"
)

// Tell tells who listens what happens, in a whole line.
func (r *Run) Tell(format string, a ...any) {
	if r.Say != nil {
		r.Say(format, a...)
	}
}

// Open locks the output folder, checks that it is this recipe's, and loads the model and its tokenizer.
func (r *Run) Open() (err error) {
	if err := r.Runner.CheckOutput(r.Output); err != nil {
		return err
	}
	if r.Runner.Schemes, err = runners.Schemes(r.Recipe, r.Output); err != nil {
		return err
	}
	if r.modelDir, err = assets.Model(r.Recipe.Model.Path, r.Tell); err != nil {
		return err
	}
	if err := r.findEmbeddings(); err != nil {
		return err
	}
	if err := r.loadTokenizer(); err != nil {
		return err
	}
	r.dtype = core.ResolveDType(r.Recipe.Model.Storage())
	if r.Recipe.Classifies() {
		if err := r.tryClassifier(); err != nil {
			return err
		}
		defer func() { r.model = nil }() // opened when the classes are known
	} else if r.model, err = core.BaseFor(r.modelDir, r.dtype, r.task()); err != nil {
		return err
	}
	if r.model.Config.Task != r.Recipe.Model.Task {
		return fmt.Errorf("%s is a model for the task %s: set model.task", r.modelDir, r.model.Config.Task)
	}
	if n := r.tokenizer.VocabSize(); n > r.model.Config.Vocab {
		return fmt.Errorf("%s: the tokenizer has %d tokens but the model's vocabulary is %d: the two do not belong together", r.modelDir, n, r.model.Config.Vocab)
	}
	if n := r.Recipe.Prepare.SequenceLength; n > r.model.Config.MaxPositions {
		return fmt.Errorf("sequence_length is %d but the model has %d positions: choose at most that", n, r.model.Config.MaxPositions)
	}
	if err := r.findTeachers(); err != nil {
		return err
	}
	for _, s := range infer.Warnings(r.modelDir, r.modelDir, r.Recipe.Train.InitAdapter) {
		r.Tell("warning: %s", s)
	}
	// What is wrong with the method shows before anything is written.
	a, err := r.Adapter(r.Recipe.Train.InitAdapter)
	if err != nil {
		return err
	}
	if err := fits(a, r.Recipe.Prepare.SequenceLength, r.model.Config.MaxPositions); err != nil {
		return err
	}
	job, err := r.Job(&Data{Train: &prepare.Result{}})
	if err != nil {
		return err
	}
	if err := job.Args.Validate(); err != nil {
		return err
	}
	if err := core.Trainable(&job.Args, a); err != nil {
		return err
	}
	if err := r.fitsMachine(); err != nil {
		return err
	}
	if err := r.place(); err != nil {
		return err
	}
	text := r.text
	path := filepath.Join(r.Output, RecipeFile)
	if old, err := storage.ReadSmall(path, storage.KindState); err == nil && !r.sameRecipe(old) {
		return otherRecipe(r.Output)
	} else if errors.Is(err, fs.ErrNotExist) {
		if es, err := os.ReadDir(r.Output); err == nil && len(es) > 0 && !ours(es) && !r.lacksRecipe() {
			return fmt.Errorf("%w: %s holds files that are not a run's: choose another --output", storage.ErrInUse, r.Output)
		}
	}
	var began []string
	for _, p := range []string{path, r.Output} {
		if _, err := os.Stat(p); errors.Is(err, fs.ErrNotExist) {
			began = append(began, p)
		}
	}
	if err := storage.MkdirAll(r.Output); err != nil {
		return err
	}
	if r.lock, err = storage.LockDir(r.Output); err != nil {
		if errors.Is(err, storage.ErrLocked) {
			return fmt.Errorf("%w: %w", storage.ErrInUse, err)
		}
		return err
	}
	if err := storage.Sweep(r.Output); err != nil { // what a killed run has left
		return err
	}
	if err := r.readBegun(); err != nil {
		return err
	}
	r.pool = pool.New(0)
	abs, err := filepath.Abs(r.Output)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(abs))
	r.Runner.Folder = abs
	r.Runner.Job = "r" + hex.EncodeToString(sum[:6])
	if err := storage.WriteFile(path, text); err != nil || r.store == "" {
		r.began = began
		return err
	}
	return storage.WriteFile(r.Product(RecipeFile), text)
}

// fits checks that a sequence and the adapter's virtual tokens have positions in the model.
func fits(a *peft.Adapter, sequence, positions int) error {
	v := a.Prompt().Positions()
	switch {
	case v >= positions:
		return fmt.Errorf("num_virtual_tokens is %d but the model has %d positions: no text fits", v, positions)
	case sequence+v > positions:
		return fmt.Errorf("sequence_length is %d and the method puts %d virtual tokens before a text, but the model has %d positions: choose a sequence_length of at most %d",
			sequence, v, positions, positions-v)
	}
	return nil
}

func ours(es []fs.DirEntry) bool {
	for _, e := range es {
		if !strings.HasPrefix(e.Name(), ".") {
			return false
		}
	}
	return true
}

// Close ends the run and gives the folder free.
func (r *Run) Close() {
	r.pool.Close()
	if r.lock != nil && !r.undo() {
		r.lock.Unlock()
	}
}

// undo takes back what Open wrote, when the run made nothing more, so that a folder which a wrong input leaves is no run's. It says whether it did.
func (r *Run) undo() bool {
	entries, err := os.ReadDir(r.Output)
	if err != nil || !slices.Contains(r.began, filepath.Join(r.Output, RecipeFile)) {
		return false
	}
	for _, e := range entries {
		if e.Name() != storage.LockName && e.Name() != RecipeFile {
			return false
		}
	}
	os.Remove(r.began[0])
	r.lock.Remove()
	for _, p := range r.began[1:] {
		os.Remove(p)
	}
	return true
}

// Adapter opens the adapter in a folder over the base, or makes the new one of the recipe where dir is empty.
func (r *Run) Adapter(dir string) (*peft.Adapter, error) {
	config, err := r.methodConfig()
	if err != nil {
		return nil, err
	}
	name, _ := r.Recipe.Method["peft_type"].(string)
	return core.OpenAdapter(r.model, dir, name, config, r.BaseName(), r.Recipe.Train.Seed)
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

// BaseName is what an adapter's folder calls the base: its absolute path.
func (r *Run) BaseName() string {
	abs, err := filepath.Abs(r.modelDir)
	if err != nil {
		return r.modelDir
	}
	return abs
}

// RecordPath is the record of a stage.
func (r *Run) RecordPath(name string) string { return filepath.Join(r.Output, "stages", name+".json") }

// Record reads what a finished stage left, or runs it and records what it gave.
func Record[V any](r *Run, name string, stage func() (V, error)) (V, error) {
	path := r.RecordPath(name)
	var v V
	raw, err := storage.ReadSmall(path, storage.KindState)
	if err == nil {
		if err := json.Unmarshal(raw, &v); err != nil {
			return v, fmt.Errorf("%s: %w: delete it to run the stage again", path, err)
		}
		return v, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	if v, err = stage(); err != nil {
		return v, err
	}
	if raw, err = storage.MarshalJSON(v, " "); err != nil {
		return v, err
	}
	if err := storage.MkdirAll(filepath.Dir(path)); err != nil {
		return v, err
	}
	if err := r.noteBegun(); err != nil {
		return v, err
	}
	return v, storage.WriteFile(path, raw)
}

// Export writes the adapter in the formats that the recipe asks for.
func (r *Run) Export(a *peft.Adapter, params *nn.Params, st *core.State, before, after *measure.Results) error {
	if st.TokensSeen == 0 {
		return fmt.Errorf("no token with a loss was trained on in %d steps, so the adapter is as it began and is not exported: look at %s, raise sequence_length where prompts fill it, "+
			"and choose another --output", st.Step, r.Product(RejectsDir))
	}
	args := r.Args()
	trained, err := core.TrainedCount(&args, a)
	if err != nil {
		return err
	}
	card := peft.Card{Version: version.Version, Trained: trained, Training: [][2]string{{"steps", fmt.Sprint(st.Step)}, {"tokens", fmt.Sprint(st.TokensSeen)},
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

// All runs every step of the recipe and returns the summary. A finished run only reads it.
func (r *Run) All(ctx context.Context) (*Metrics, error) {
	if m, err := r.finished(ctx); m != nil || err != nil {
		return m, err
	}
	d, err := r.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.checkExports(); err != nil {
		return nil, err
	}
	none := nn.NewParams(1)
	r.Tell("scoring the base model")
	before, err := Record(r, "before", func() (*measure.Results, error) { return r.Evaluate(ctx, d, nil, none) })
	if err != nil {
		return nil, err
	}
	st, err := r.Train(ctx, d)
	if err != nil {
		return nil, err
	}
	r.Tell("scoring the adapted model")
	a, params, err := r.Trained(st)
	if err != nil {
		return nil, err
	}
	defer params.Free()
	after, err := Record(r, "after", func() (*measure.Results, error) { return r.Evaluate(ctx, d, []nn.Adapter{a}, params) })
	if err != nil {
		return nil, afterTraining(err)
	}
	if err := r.Export(a, params, st, before, after); err != nil {
		return nil, err
	}
	m, err := r.report(d, st, a, before, after)
	if err != nil {
		return nil, err
	}
	return m, r.Publish()
}

// Train runs or continues the training job.
func (r *Run) Train(ctx context.Context, d *Data) (*core.State, error) {
	job, err := r.Job(d)
	if err != nil {
		return nil, err
	}
	if err := r.initialise(ctx, &job); err != nil {
		return nil, err
	}
	defer core.Watch(job.Dir, func(p core.Progress) {
		if r.Step != nil {
			r.Step(p.Total, p.Step, p.Eval)
		}
	})()
	mem.Heap(ctx, 50, 0) // weights and activations lie outside the heap; what is left is small
	if step, err := drive.Latest(job.Dir); err == nil && step > 0 {
		r.Tell("continuing from %s", core.CheckpointDir(job.Dir, step))
	}
	return drive.Train(ctx, job, r.Runner, func(s string) { r.Tell("%s", s) })
}

// Trained loads the adapter that training gave: the best checkpoint where the recipe asks for it, else the last.
func (r *Run) Trained(st *core.State) (*peft.Adapter, *nn.Params, error) {
	step := st.Step
	if r.Recipe.Train.LoadBestModelAtEnd && st.BestStep > 0 {
		step = st.BestStep
	}
	init, err := r.initDir()
	if err != nil {
		return nil, nil, err
	}
	a, err := r.Adapter(init)
	if err != nil {
		return nil, nil, err
	}
	params, err := a.NewParams(1)
	if err != nil {
		return nil, nil, err
	}
	return a, params, core.ReadAdapter(core.CheckpointDir(filepath.Join(r.Output, "checkpoints"), step), a, params)
}
