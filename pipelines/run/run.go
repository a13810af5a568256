package run

import (
	"path/filepath"
	"time"

	"github.com/adaptflow/adaptflow/export"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/pipelines/report"
	"github.com/adaptflow/adaptflow/pipelines/runners"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/train"
)

// Run is one run of a recipe in an output folder. Each step of it leaves a record there, so that the same run again continues.
type Run struct {
	Recipe *recipe.Recipe
	Output string
	// Runner is where its pipelines run, as [runners.Runner.Resolve] returns it.
	Runner runners.Runner
	// Say receives what happens, in whole lines; nil for nobody.
	Say func(format string, a ...any)
	// Step receives every optimiser step and evaluation; nil for nobody.
	Step func(total int, info *train.StepInfo, eval *train.Eval)

	// Stage hears how far preparing and scoring are, twice a second, from a goroutine of its own; nil for nobody.
	Stage func(Stage)
	// Command is how the run was started, for its report; "" where a program calls the package.
	Command string
	// Chosen are the settings that were left to the model, after [Run.Open].
	Chosen []recipe.Choice

	// Afar: the kind of run needs nothing that its workers share but the work location.
	Afar bool
	// Work is the work location of an output on an object store, where the kind of run works at one (Afar); "" for one in the output.
	Work string
	// Summary is the file that makes the run finished; "" for MetricsFile.
	Summary string
	// HoldOut: text of the input is held out also where the recipe names eval_input, for a kind of run that chooses by it.
	HoldOut bool
	// Forgotten are ids of documents that preparing takes out of what it has prepared, and that nothing prepared holds afterwards.
	Forgotten []string

	// begunBefore: a version of the program began it whose epochs went on in one another, as they still do then.
	begunBefore bool
	// sharesPrompts: train.Args.SharedPrompts is heeded, as it is by all that begin now.
	sharesPrompts bool

	opened    time.Time
	lock      *storage.Lock
	lease     *storage.Lease    // of the work location
	root      string            // the work location of the run that a run within it is of
	pushed    map[string]string // references to local folders at the work location
	store     string            // the output as given, where it is on an object store; Output is a folder of this machine then
	began     []string          // what Open made: the recipe's file, and the output folder
	fetched   map[string]string // this machine's copies of adapters to start from that are on object stores
	modelDir  string
	brought   model.Task  // embeddings of the adapter to start from
	teachers  []string    // folders of the models to distil from
	held      *train.Held // the model
	model     *model.Model
	dtype     string   // resolved
	classes   []string // of a classifier, by number; nil before the data is prepared
	tokenizer tokenize.Tokenizer
	frame     *tokenize.Frame // what stands around a text
	before    bool            // version 0.1 began the run, which goes on as that version did
	text      []byte          // the recipe as the output folder has it
	pool      *pool.Pool
}

// The files of an output folder.
const (
	RecipeFile  = "recipe.resolved.yaml"
	MetricsFile = report.MetricsFile
	AdapterDir  = export.AdapterFolder
	RejectsDir  = "rejects"
)

// Model is the base model, nil before [Run.Open]; of a classifier, before [Run.Prepare].
func (r *Run) Model() *model.Model { return r.model }

// Tell tells who listens what happens, in a whole line.
func (r *Run) Tell(format string, a ...any) {
	if r.Say != nil {
		r.Say(format, a...)
	}
}

// BaseName is what an adapter's folder calls the base: its absolute path; that of the file where it is a GGUF file.
func (r *Run) BaseName() string {
	if file := model.GGUFOf(r.modelDir); file != "" {
		return file
	}
	abs, err := filepath.Abs(r.modelDir)
	if err != nil {
		return r.modelDir
	}
	return abs
}

// RecordPath is the record of a stage.
func (r *Run) RecordPath(name string) string { return filepath.Join(r.Output, "stages", name+".json") }

// Product is the path of something that users want of the run: shards, dead letters.
func (r *Run) Product(elem ...string) string {
	if r.store != "" {
		return storage.Join(r.store, elem...)
	}
	return filepath.Join(append([]string{r.Output}, elem...)...)
}
