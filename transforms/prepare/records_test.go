package prepare

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/version"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	tokens "github.com/adaptflow/adaptflow/transforms/tokenize"
)

// packRecords runs the transforms of records over lists of them, each a bundle, and returns the set of shards and its manifest.
func packRecords(t *testing.T, cfg Config, lists ...[]ingest.Record) (pack.ShardSet, *datasets.Manifest) {
	t.Helper()
	out := t.TempDir()
	p, s := beam.NewPipelineWithRoot()
	var all []beam.PCollection
	for _, l := range lists {
		all = append(all, beam.CreateList(s, l))
	}
	docs, rejects := tokens.Records(s, tokens.Settings{Tokenizer: cfg.TokenizerDir, Seed: cfg.Seed, Pack: cfg.PackOptions},
		beam.Flatten(s, all...))
	end.Of(s, rejects)
	sets := pack.Records(s, pack.Settings{Dir: filepath.Join(out, "shards"), Work: filepath.Join(out, "work"), Name: "mine",
		Tokenizer: cfg.TokenizerDir, Prepare: cfg.Prepare, ValidationFraction: cfg.ValidationFraction, Seed: cfg.Seed,
		GroupTokens: int64(len(lists)-1) * 1000}, docs) // one file, or several
	seen := jobstest.Collect(s, sets)
	if err := jobs.Prism(t.Context(), p, "pack"); err != nil {
		t.Fatal(err)
	}
	if len(seen()) != 1 {
		t.Fatalf("%d sets of shards", len(seen()))
	}
	set := seen()[0].Value.(pack.ShardSet)
	m, err := datasets.ReadManifest(set.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return set, m
}

// TestRecordsPackTheSame: a collection of records becomes the shards that the run's data stage writes of the same documents, whatever
// order and bundles they come in, and their manifest counts the same.
func TestRecordsPackTheSame(t *testing.T) {
	tokenizer, in := byteTokenizer(t), t.TempDir()
	texts := corpus(t, in)
	whole := strings.Repeat("e", 64) // a sequence, so that <eos> alone would be a second one
	write(t, filepath.Join(in, "d.txt"), whole+"\n")
	texts[datasets.DocID("d.txt", 0)] = whole
	var records []ingest.Record
	for id, text := range texts {
		source, index := datasets.CutDocID(id)
		records = append(records, ingest.Record{Source: source, Index: index, Text: text})
	}
	slices.SortFunc(records, func(a, b ingest.Record) int {
		return cmp.Or(strings.Compare(a.Source, b.Source), cmp.Compare(a.Index, b.Index))
	})
	for _, packing := range []string{datasets.PackBFDSplit, datasets.PackWrapped} {
		cfg := config(t, tokenizer, in)
		cfg.Version, cfg.Strategy, cfg.IsolateDocuments = version.Version, packing, packing == datasets.PackBFDSplit
		res := execute(t, cfg)
		want, err := datasets.ReadManifest(cfg.OutDir)
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Train) < 2 || len(res.Validation) != 1 {
			t.Fatalf("%d and %d shards", len(res.Train), len(res.Validation))
		}
		other := slices.Clone(records)
		slices.Reverse(other)
		hash := ""
		for i, lists := range [][][]ingest.Record{{records}, {other[:7], other[7:70], other[70:]}} {
			set, m := packRecords(t, cfg, lists...)
			counts := func(m *datasets.Manifest) string {
				return fmt.Sprint(m.Train, m.Validation, m.Tokens, m.Sequences, m.FillRate, m.Kept, *m.AddBOS, *m.AddEOS)
			}
			if counts(m) != counts(want) || m.Read != m.Kept {
				t.Errorf("%s, %d:\n%+v\nwant\n%+v", packing, i, m, want)
			}
			for _, s := range slices.Concat(m.Train, m.Validation) {
				a, err := os.ReadFile(filepath.Join(set.Dir, s.Path))
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(filepath.Join(cfg.OutDir, s.Path))
				if err != nil || string(a) != string(b) {
					t.Errorf("%s, %d: %s is another: %v", packing, i, s.Path, err)
				}
			}
			if set.Name != "mine" || set.Sequences != res.Sequences || set.Tokens != res.Tokens || hash != "" && set.Hash != hash {
				t.Errorf("%s, %d: %+v", packing, i, set)
			}
			hash = set.Hash
		}
	}
}

// TestRecordsPackNothing: no document is an error that says so, and wrong settings are one before anything runs.
func TestRecordsPackNothing(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	docs := beam.CreateList(s, []datasets.StagedDoc{{}})
	set := pack.Settings{Dir: t.TempDir(), Work: t.TempDir(), Tokenizer: byteTokenizer(t), Prepare: recipe.Default().Prepare}
	end.Of(s, pack.Records(s, set, docs))
	if err := jobs.Prism(t.Context(), p, "pack"); err == nil || !strings.Contains(err.Error(), "there is no text in the 1 documents") {
		t.Error(err)
	}
	for what, wrong := range map[string]func(*pack.Settings){
		"Work is not set":     func(c *pack.Settings) { c.Work = "" },
		"sequence_length":     func(c *pack.Settings) { c.SequenceLength = 1 },
		"validation_fraction": func(c *pack.Settings) { c.ValidationFraction = 1 },
	} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "pack.Records: ") || !strings.Contains(r, what) {
					t.Errorf("%s: %s", what, r)
				}
			}()
			bad := set
			wrong(&bad)
			pack.Records(s, bad, docs)
		}()
	}
}
