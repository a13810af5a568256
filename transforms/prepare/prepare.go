package prepare

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/storage"
	tok "github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/clean"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

// Runner executes a pipeline and waits for its end; without one it is [jobs.Prism].
type Runner func(ctx context.Context, p *beam.Pipeline, name string) error

// Execute prepares data in pipelines: reading, cleaning and tokenizing, which also counts, and packing, whose number of shards needs the
// count; a step of deduplication comes between with pipelines of its own. The shards' bytes depend on the documents and the settings alone:
// not on the order of files (unless OrderFile asks for it), bundles or workers. What an earlier run left in OutDir and RejectsDir is
// replaced; the manifest is removed first and written last.
//
// When more records were rejected than MaxBadFraction allows, the result is complete and the error wraps ErrTooManyBad. No input file, or
// no usable record, is an error.
func Execute(ctx context.Context, cfg Config, run Runner) (*Result, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if !beam.Initialized() {
		return nil, jobs.ErrNotInitialised
	}
	if run == nil {
		run = jobs.Prism
	}
	if os.Getenv("GOGC") == "" {
		// Texts are garbage as soon as they are judged or encoded, and little else is live: collecting at twice that little would take a
		// tenth of the time.
		defer mem.Heap(ctx, 300, heapLimit)()
	}
	hash := ""
	var frame *tok.Frame
	tokenizer, err := pulled.Folder(ctx, cfg.TokenizerDir)
	if err != nil {
		return nil, err
	}
	if cfg.Until == "" { // what ends before tokenizing needs no tokenizer
		t, f, err := tokenize.LoadTokenizer(tokenizer, cfg.Engine, cfg.Ends, cfg.Before)
		if err != nil {
			return nil, err
		}
		hash, frame = t.Hash(), f
		cfg.KeepEnds = !cfg.Before && len(f.End()) > 0
	}
	sources, parts, err := cfg.findSources()
	if err != nil {
		return nil, err
	}
	if err := cfg.check(ctx, sources, parts); err != nil {
		return nil, err
	}
	if !cfg.Dry {
		if err := cfg.readRules(); err != nil {
			return nil, err
		}
	}
	d := &driver{cfg: cfg, tokenizer: tokenizer, run: run, sources: sources, parts: parts, frame: frame}
	d.res.Origins = d.origins()
	d.records, d.tokens, d.packed = storage.Join(cfg.StagedDir, "records"), storage.Join(cfg.StagedDir, "tokens"),
		storage.Join(cfg.StagedDir, "packed")
	d.meta = datasets.ShardMeta{Kind: datasets.KindLM, TokenizerHash: hash, SequenceLength: cfg.SequenceLength, Packing: cfg.Strategy,
		IsolateDocuments: cfg.IsolateDocuments, Seed: cfg.Seed, Version: cfg.Version}
	if cfg.classes() {
		d.meta.Kind = datasets.KindClassification
	}
	if cfg.Answers != "" {
		d.meta.Kind = cfg.Answers
	}
	return d.execute(ctx)
}

// heapLimit is the size of the heap, in bytes, beyond which garbage is collected as it comes.
const heapLimit = 512 << 20

type driver struct {
	cfg                     Config
	run                     Runner
	tokenizer               string // its folder on this machine
	template                string // of chats, as workers find it
	sources                 []datasets.SourceFile
	parts                   map[string]int // the named source of each file's name, by number
	assumed                 *Volume        // what is planned for: jobs are made and not run, and nothing of them is read
	repeated                int64          // uses of documents beyond the first
	first                   string         // the first dead letter
	records, tokens, packed string
	files                   []ingest.File
	left                    int64  // groups of records that the last stage left
	kept                    string // the last stage that kept references to groups: see listGroups
	meta                    datasets.ShardMeta
	frame                   *tok.Frame
	res                     Result
	plan                    pack.Plan
}

func (d *driver) execute(ctx context.Context) (res *Result, err error) {
	if err := d.clear(); err != nil {
		return nil, err
	}
	defer tokenize.Forget(d.tokens)
	defer func() {
		if res == nil && !d.cfg.KeepStaged && !d.cfg.Dry {
			_ = d.clearStaged() // the error that ended the run is the one to tell
		}
	}()
	if err := d.stages(ctx); err != nil {
		return nil, err
	}
	if d.cfg.Until != "" {
		if !d.cfg.KeepStaged {
			return &d.res, d.clearStaged()
		}
		return &d.res, nil
	}
	if err := d.count(); err != nil {
		return nil, err
	}
	if err := d.mix(ctx); err != nil {
		return nil, err
	}
	if err := d.pack(ctx); err != nil {
		return nil, err
	}
	if err := d.countMixed(); err != nil {
		return nil, err
	}
	if err := d.prints(); err != nil {
		return nil, err
	}
	if err := d.finish(); err != nil {
		return nil, err
	}
	if !d.cfg.KeepStaged {
		if err := d.clearStaged(); err != nil {
			return nil, err
		}
	}
	if bad := d.res.Bad(); float64(bad) > d.cfg.MaxBadFraction*float64(d.res.Read) {
		return &d.res, &TooManyBadError{Bad: bad, Read: d.res.Read, Max: d.cfg.MaxBadFraction, Rejected: d.res.Rejected,
			Dir: d.cfg.RejectsDir}
	}
	return &d.res, nil
}

// clear removes what an earlier run left, the manifest first.
func (d *driver) clear() error {
	if d.cfg.Dry {
		return nil
	}
	if err := storage.Remove(storage.Join(d.cfg.OutDir, datasets.ManifestName)); err != nil {
		return err
	}
	for _, pattern := range []string{
		storage.Join(d.cfg.OutDir, "train-*-of-*.parquet"), storage.Join(d.cfg.OutDir, "validation-*-of-*.parquet"),
		storage.Join(d.cfg.RejectsDir, "*.jsonl.zst"),
	} {
		if err := removeAll(pattern); err != nil {
			return err
		}
	}
	return d.clearStaged()
}

func (d *driver) clearStaged() error {
	dirs := []string{d.records, d.tokens, d.packed, d.dir(clean.Name), d.dir("lists"), d.dir("totals")}
	for i := range d.cfg.Dedupe {
		dirs = append(dirs, d.dir(d.stepName(i)), d.runs(i), d.index(i))
	}
	for _, dir := range dirs {
		for _, ext := range []string{"*.parquet", "*.json", "*.run", "*.prints", "*.parts"} {
			if err := removeAll(storage.Join(dir, ext)); err != nil {
				return err
			}
		}
		if storage.IsLocal(dir) {
			os.Remove(storage.Local(dir)) // only when it is empty
		}
	}
	if storage.IsLocal(d.cfg.StagedDir) {
		os.Remove(storage.Local(d.cfg.StagedDir))
	}
	return nil
}

func removeAll(pattern string) error {
	files, err := storage.Glob(pattern)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := storage.Remove(f); err != nil {
			return err
		}
	}
	return nil
}
