package pack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pulled"
	"github.com/adaptflow/adaptflow/internal/settings"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/recipe"
	tok "github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/partition"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
)

func init() {
	beam.RegisterDoFn(&planFn{})
	beam.RegisterDoFn(&manifestFn{})
	beam.RegisterType(reflect.TypeFor[DocGroup]())
	beam.RegisterType(reflect.TypeFor[ShardSet]())
	register.Emitter1[DocGroup]()
	register.Emitter2[string, string]()
	register.Emitter1[ShardSet]()
	register.Iter1[DocGroup]()
	register.Iter1[string]()
}

// Settings say how [Records] packs. What has no value has a recipe's default, but for IsolateDocuments: recipe.Default().Prepare has it.
type Settings struct {
	Dir  string // the folder of the shards and of their manifest
	Work string // a folder of what is staged between; it may go when the pipeline has ended
	Name string // of the set, for who has several; may be empty

	// Tokenizer is that of the documents, by which the shards are known: a folder, or a reference to one that workers have; Engine is that
	// of tokenize.LoadEngine.
	Tokenizer, Engine string
	// Prepare has sequence_length, packing, isolate_documents, tokens_per_shard, and what stands around a text; its other settings are of
	// the steps before.
	recipe.Prepare
	ValidationFraction float64  // share of the documents that are held out, in shards of their own
	Seed               uint64   // that of tokenize.Settings
	Labels             []string // classes by number, of rows that have one
	// GroupTokens is what an instance of a worker holds before it writes a file, 0 for two million tokens, which take 32 MiB.
	GroupTokens int64
}

// ShardSet is a reference to a finished folder of shards.
type ShardSet struct {
	Name      string `beam:"name"`
	Dir       string `beam:"dir"`
	Manifest  string `beam:"manifest"` // the file that lists the shards: datasets.ReadManifest(Dir)
	Hash      string `beam:"hash"`     // of the manifest, 128 bits in hexadecimal digits: what the shards hold is in it
	Sequences int64  `beam:"sequences"`
	Tokens    int64  `beam:"tokens"`
}

// Read reads the manifest of the set. Another one than it was is an error.
func (s *ShardSet) Read() (*datasets.Manifest, error) {
	raw, err := storage.ReadFile(s.Manifest)
	if err != nil {
		return nil, err
	}
	if sum := storage.SHA256(raw)[:hashDigits]; sum != s.Hash {
		return nil, fmt.Errorf("%s is not the manifest that was written: pack the documents again", s.Manifest)
	}
	return datasets.ReadManifest(s.Dir)
}

// hashDigits are those of a ShardSet's hash.
const hashDigits = 32

// Records packs tokenized documents (PCollection<datasets.StagedDoc>, bounded, as tokenize.Records gives them) into Parquet shards and
// returns one reference to all of them (PCollection<ShardSet>). The shards have the bytes that `adaptflow run` gives the same documents
// with the same settings; their windows, order and bundles change nothing. Documents of equal ids should be equal; each is packed.
//
// Documents are staged in files of a bounded size where they are, and brought together by their shard by transforms/partition; references
// are what is shuffled. Wrong settings panic; that there is no document is an error of the pipeline.
func Records(s beam.Scope, set Settings, docs beam.PCollection) beam.PCollection {
	if err := set.complete(); err != nil {
		panic(fmt.Errorf("pack.Records: %w", err))
	}
	s = s.Scope("pack.Records")
	set.Work = storage.Join(set.Work, "pack-"+storage.SHA256([]byte(set.Dir))[:16])
	groups := beam.ParDo(s, &stageFn{Dir: storage.Join(set.Work, "documents"), Tokens: cmp.Or(set.GroupTokens, groupTokens)},
		beam.WindowInto(s, window.NewGlobalWindows(), docs))
	plan := beam.ParDo(s, &planFn{Set: set}, beam.Impulse(s), beam.SideInput{Input: groups})
	placed := beam.ParDo(s, &placeDocsFn{Dir: storage.Join(set.Work, "parts")}, beam.Reshuffle(s, groups), beam.SideInput{Input: plan})
	parts := partition.Split(s, partition.Settings{Dir: storage.Join(set.Work, "parts"), Name: "shards", Bits: recordBits}, placed)
	shards := beam.ParDo(s, &packDocsFn{Set: set}, beam.GroupByKey(s, parts), beam.SideInput{Input: plan})
	return beam.ParDo(s, &manifestFn{Set: set}, beam.GroupByKey(s, shards))
}

// complete fills in defaults and checks.
func (c *Settings) complete() error {
	def := recipe.Default()
	c.Clean, c.Dedupe = nil, nil // of other steps
	c.Strategy = cmp.Or(c.Strategy, def.Prepare.Strategy)
	if c.Strategy == "best_fit" {
		c.Strategy = datasets.PackBFDSplit
	}
	c.SequenceLength = cmp.Or(c.SequenceLength, def.Prepare.SequenceLength)
	c.TokensPerShard = cmp.Or(c.TokensPerShard, def.Prepare.TokensPerShard)
	c.Language = cmp.Or(c.Language, def.Prepare.Language)
	for _, f := range [][2]string{{"Dir", c.Dir}, {"Work", c.Work}, {"Tokenizer", c.Tokenizer}} {
		if f[1] == "" {
			return fmt.Errorf("%s is not set", f[0])
		}
	}
	c.Classes = len(c.Labels) > 0
	return errors.Join(settings.CheckSet(&c.Prepare), settings.CheckSet(&recipe.Shares{ValidationFraction: c.ValidationFraction}),
		c.PackOptions.Validate())
}

// layout is a plan with the number of documents that it is for, as JSON in elements.
type layout struct {
	Plan
	Docs int64
}

func layoutOf(text string) (l layout, err error) {
	if err = json.Unmarshal([]byte(text), &l); err != nil {
		err = fmt.Errorf("pack: the plan: %w", err)
	}
	return l, err
}

// layoutFrom reads the plan as a side input gives it, "" where there is none. That is a list and no single value, of which Beam would tell
// that it is missing before the error of planning that says why.
func layoutFrom(plan func(*string) bool) (text string, l layout, err error) {
	if plan(&text) {
		l, err = layoutOf(text)
	}
	return text, l, err
}

// planFn counts what the groups hold and plans the shards.
type planFn struct{ Set Settings }

// ProcessElement reads references, and returns the plan: a [layout] in JSON.
func (f *planFn) ProcessElement(_ []byte, groups func(*DocGroup) bool) (string, error) {
	var docs, tokens int64
	lo, hi := uint64(math.MaxUint64), uint64(0)
	for g := (DocGroup{}); groups(&g); g = (DocGroup{}) {
		docs, tokens = docs+g.Docs, tokens+g.Tokens
		lo, hi = min(lo, uint64(g.MinSplit)), max(hi, uint64(g.MaxSplit))
	}
	if tokens == 0 {
		return "", fmt.Errorf("pack.Records: there is no text in the %d documents to be packed into %s: look at what cleaning and "+
			"tokenizing reject", docs, f.Set.Dir)
	}
	l := layout{Plan: planOf(&f.Set, tokens, lo, hi), Docs: docs}
	raw, err := json.Marshal(&l)
	return string(raw), err
}

// planOf is the plan of documents of so many tokens, whose hashes for the split are from lo to hi.
func planOf(c *Settings, tokens int64, lo, hi uint64) Plan {
	p := Plan{Train: datasets.NumShards(tokens, c.TokensPerShard), Split: datasets.NewSplit(c.ValidationFraction, lo, hi), Seed: c.Seed}
	if p.Split.On {
		p.Validation = datasets.NumShards(int64(math.Ceil(float64(tokens)*c.ValidationFraction)), c.TokensPerShard)
	}
	return p
}

// opened is what the settings are with their tokenizer.
type opened struct {
	frame   *tok.Frame
	meta    datasets.ShardMeta // what shards say of themselves
	options datasets.PackOptions
}

func (c *Settings) open(ctx context.Context) (*opened, error) {
	dir, err := pulled.Folder(ctx, c.Tokenizer)
	if err != nil {
		return nil, err
	}
	t, frame, err := tokenize.LoadTokenizer(dir, c.Engine, c.Ends, false)
	if err != nil {
		return nil, err
	}
	o := &opened{frame, datasets.ShardMeta{Kind: datasets.KindLM, TokenizerHash: t.Hash(), SequenceLength: c.SequenceLength,
		Packing: c.Strategy, IsolateDocuments: c.IsolateDocuments, Seed: c.Seed, Version: version.Version}, c.PackOptions}
	o.options.KeepEnds = len(frame.End()) > 0
	if len(c.Labels) > 0 {
		o.meta.Kind, o.meta.Labels = datasets.KindClassification, c.Labels
	}
	return o, nil
}
