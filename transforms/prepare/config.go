// Package prepare drives the data stages, ingest, tokenize and pack, from input files to a folder of shards with a manifest.
package prepare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	core "github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/datasets/rules"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize"
)

// Orders of the documents.
const (
	OrderHash = "hash" // by the hash of their id: does not depend on the files' order
	OrderFile = "file" // as in the input, in one shard; for repeating reference runs
)

// Where Config.Until may end.
const (
	UntilClean  = "clean"
	UntilDedupe = "dedupe"
)

// Config is the settings of preparing data: those of a recipe's sections data and prepare, and what a run gives.
type Config struct {
	Inputs []string // files or globs
	// Sources are named parts of the input in place of Inputs, with their shares and caps; their EvalInput is not used. Mix says how they
	// are mixed; its own sources are not used, and documents held out for validation are neither left out nor repeated.
	Sources []recipe.Source
	Mix     datasets.Mix
	// Options say how the input is read. Pages and Translation are set from what follows and from the sources.
	datasets.Options
	// HTML are the settings of the rule html_text that web pages are read with, of files and of web archives, each as a document; nil for
	// those in Clean, or the rule's defaults.
	HTML map[string]any
	// Prepare says how documents become sequences; its TokensPerShard and Language are a recipe's defaults where they are not set.
	// ApplyChatTemplate refuses plain texts.
	recipe.Prepare
	recipe.Shares // a MaxBadFraction of 1 allows all: see ErrTooManyBad
	// Until ends after reading and cleaning (UntilClean) or after deduplication (UntilDedupe); there are no shards then. "" goes to the
	// end.
	Until string
	// TokenizerDir is the Hugging Face folder with tokenizer.json; Engine is tokenize's.
	TokenizerDir, Engine string
	// Before makes what stands around texts as version 0.1 did, for output folders that it began, whatever Ends say: a plain text begins
	// with bos_token where the tokenizer names one, and ends with eos_token where it does not; the manifest says nothing of it.
	Before     bool
	Seed       uint64
	Order      string // OrderHash (or "") or OrderFile
	OutDir     string // the shards and manifest.json
	RejectsDir string // the dead letters
	StagedDir  string // intermediate files; its sub-folders records, tokens and packed are this package's alone
	KeepStaged bool   // leave them when done
	Version    string // adaptflow's version, recorded in the shards
	// Shared, where not nil, gives the path by which workers find a file of this machine: they share StagedDir and no folder with it. An
	// index of deduplication that goes to a folder here is brought by the driver.
	Shared func(ctx context.Context, path string) (string, error)
	// DedupeLimits are how much a task of deduplication has to do; the zero value is right but for tests. They change no result.
	DedupeLimits core.Limits
	// Dry asks no object store, clears nothing, and takes what the input names on one as it is: for a Runner that looks at the pipelines
	// and runs none.
	Dry        bool
	PrintsPath string // a file for what identifies the documents: see datasets.CompareTraining; "" for none
	// Sizes bound what is worked on at once. What is prepared does not depend on them.
	Sizes Sizes
}

// Sizes are the sizes, in bytes, that the work is cut by; 0 is the default of each.
type Sizes struct {
	Group int64 // text of a row group of staged records, 4 MiB: the unit of work of a stage
	Part  int64 // what one task of deduplication or packing holds at most, 256 MiB
	Block int64 // of an input file that is read as one, 16 MiB
}

func (c *Config) pack() datasets.PackOptions {
	o := c.PackOptions
	o.Classes, o.Answers = c.classes(), c.Answers != ""
	return o
}

// longest is the most tokens of a text that has a class, or of a prompt with an answer: of these two are in a sequence.
func (c *Config) longest() int {
	if c.Answers == "" {
		return c.SequenceLength
	}
	return c.Prepare.LongestAnswer(c.Answers)
}

func (c *Config) reading() datasets.Options {
	o := c.Options
	o.Pages, o.Where = c.HTML != nil, rules.Conditions(c.Clean)
	return o
}

// htmlText is the name of the rule that takes the text out of web pages.
const htmlText = "html_text"

func (c *Config) classes() bool { return c.RowKind == datasets.RowClassification }

// complete fills in defaults and checks.
func (c *Config) complete() error {
	c.defaults()
	for _, f := range [][2]string{{"OutDir", c.OutDir}, {"RejectsDir", c.RejectsDir}, {"StagedDir", c.StagedDir},
		{"TokenizerDir", c.TokenizerDir}} {
		if f[1] == "" {
			return fmt.Errorf("prepare: %s is not set", f[0])
		}
	}
	switch {
	case c.Order != OrderHash && c.Order != OrderFile:
		return fmt.Errorf("order %q is unknown; it is one of %s, %s", c.Order, OrderHash, OrderFile)
	case c.Until != "" && c.Until != UntilClean && c.Until != UntilDedupe:
		return fmt.Errorf("prepare: Until %q is unknown", c.Until)
	}
	if err := c.checkSources(); err != nil {
		return err
	}
	if err := errors.Join(settings.CheckSet(&c.Prepare), settings.CheckSet(&c.Shares)); err != nil {
		return err
	}
	if c.Until == UntilClean {
		c.Dedupe = nil
	}
	if err := c.CheckSteps(); err != nil {
		return err
	}
	if err := c.pack().Validate(); err != nil {
		return err
	}
	return c.reading().Validate()
}

// defaults fills in what is not set: where a recipe has the setting, by its default there.
func (c *Config) defaults() {
	def := recipe.Default()
	c.Strategy = cmp.Or(c.Strategy, def.Prepare.Strategy)
	if c.Strategy == "best_fit" {
		c.Strategy = datasets.PackBFDSplit
	}
	c.TokensPerShard = cmp.Or(c.TokensPerShard, def.Prepare.TokensPerShard)
	c.Language = cmp.Or(c.Language, def.Prepare.Language)
	c.Mix.Strategy = cmp.Or(c.Mix.Strategy, def.Data.Mix.Strategy)
	c.Order = cmp.Or(c.Order, OrderHash)
	if c.Before {
		c.Ends = tokenize.Ends{}
	}
	for _, step := range c.Clean {
		if page := rules.PageRule(step); page != nil && c.HTML == nil {
			c.HTML = page
		}
	}
	if c.HTML == nil { // pages are read by themselves
		c.HTML = map[string]any{"rule": htmlText}
	}
	c.Sources = slices.Clone(c.Sources)
	// the order in which they are named decides nothing
	slices.SortFunc(c.Sources, func(a, b recipe.Source) int { return strings.Compare(a.Name, b.Name) })
}

// checkSources checks the named sources and how they are mixed.
func (c *Config) checkSources() error {
	if len(c.Inputs) > 0 && len(c.Sources) > 0 {
		return fmt.Errorf("the input is named twice, by input and by sources: name it by one of them")
	}
	for i, s := range c.Sources {
		if i > 0 && s.Name == c.Sources[i-1].Name {
			return fmt.Errorf("two sources are called %s", s.Name)
		}
		o := c.reading()
		o.Translation = s.Translation
		if err := o.Validate(); err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
	}
	m := c.mixing()
	if err := m.Validate(); err != nil {
		return err
	}
	if m.On() && c.Order == OrderFile {
		return fmt.Errorf("order %s uses every document once, as in the input: weights, sampling_temperature and caps go with order %s",
			OrderFile, OrderHash)
	}
	return nil
}

// ShardRef is a reference to a finished shard.
type ShardRef struct {
	Path               string // whole
	SHA256             string
	Rows, Tokens       int64
	Supervised         int64
	RowGroups          int
	RowGroupSupervised []int64 // positions that a loss is taken on, a row group
}

// Result is what preparing gave. Read = Kept + all of Rejected.
type Result struct {
	Read, Kept        int64
	Rejected          map[string]int64
	Tokens            int64 // in the shards
	Dropped           int64 // tokens dropped by drop_last
	Sequences         int64
	FillRate          float64 // Tokens / (Sequences · SequenceLength)
	Train, Validation []ShardRef
	ManifestPath      string
	RejectFiles       []string
	// Funnel is what each stage took out, in order; the first is reading.
	Funnel []Stage
	Labels []string // the classes by number, of rows of kind classification
	// Origins is the named source of each input file's name; nil without named sources.
	Origins map[string]string
	// Layouts say for each format and kind of rows how many files have it.
	Layouts []string
	// Tally counts the fields that are not used and what else is noted of the records.
	Tally datasets.Tally
}

// Stage is one stage of the funnel. In = Kept + all of Rejected.
type Stage = datasets.FunnelStage

// Bad counts the records that could not be read. What cleaning and deduplication take out is not among them, nor are completions that are
// labelled false.
func (r *Result) Bad() int64 {
	if len(r.Funnel) == 0 {
		return r.Read - r.Kept - r.Rejected[datasets.ReasonUndesirable]
	}
	return Bad(r.Funnel)
}

// Bad counts the records that could not be read by the funnel's first stage.
func Bad(funnel []Stage) int64 {
	bad := funnel[0].In - funnel[0].Kept - funnel[0].Rejected[datasets.ReasonUndesirable]
	for reason, n := range funnel[0].Rejected {
		if strings.HasPrefix(reason, "field.") { // rows that the recipe does not want
			bad -= n
		}
	}
	return bad
}

// ErrTooManyBad is wrapped by the error of a run that finished with more rejected records than max_bad_fraction allows.
var ErrTooManyBad = errors.New("too many bad records")

// ErrNoText is what errors.Is finds in the error of input without a usable record.
var ErrNoText = errors.New("no text")

// noTextError tells why there is no text.
type noTextError string

func (e noTextError) Error() string { return string(e) }

func (noTextError) Is(target error) bool { return target == ErrNoText }

// SilentError is the error of input whose records were read, and in none of which a token has a loss. It is an ErrNoText; Result counts the
// records.
type SilentError struct {
	Text   string
	Result *Result
}

// Error says so.
func (e *SilentError) Error() string { return e.Text }

// Is makes errors.Is(err, ErrNoText) true.
func (e *SilentError) Is(target error) bool { return target == ErrNoText }

// TooManyBadError says how many records were rejected and why.
type TooManyBadError struct {
	Bad, Read int64
	Max       float64
	Rejected  map[string]int64
	Dir       string
}

// Error gives the counts by reason, the most frequent first.
func (e *TooManyBadError) Error() string {
	return fmt.Sprintf("%d of %d records were rejected (%.1f %%), max_bad_fraction allows %.1f %%: %s; see %s", e.Bad, e.Read,
		100*float64(e.Bad)/float64(e.Read), 100*e.Max, Reasons(e.Rejected), e.Dir)
}

// Unwrap makes errors.Is(err, ErrTooManyBad) true.
func (e *TooManyBadError) Unwrap() error { return ErrTooManyBad }

// Reasons lists counts by reason, the most frequent first.
func Reasons(m map[string]int64) string {
	names := make([]string, 0, len(m))
	for r := range m {
		names = append(names, r)
	}
	slices.SortFunc(names, func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	for i, r := range names {
		names[i] = fmt.Sprintf("%s %d", r, m[r])
	}
	return strings.Join(names, ", ")
}
