package export

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/transforms/end"
	"github.com/adaptflow/adaptflow/transforms/evaluate"
	"github.com/adaptflow/adaptflow/transforms/ingest"
	"github.com/adaptflow/adaptflow/transforms/jobs"
	"github.com/adaptflow/adaptflow/transforms/jobs/jobstest"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/tokenize"
	"github.com/adaptflow/adaptflow/transforms/train"
)

func TestMain(m *testing.M) { jobstest.Main(m) }

// TestAdapters: records become an adapter that is scored and exported in one pipeline: what the folder holds scores, to the bit, as the
// pipeline says, as does the base alone; of a set of a name, the folder is of that name.
func TestAdapters(t *testing.T) {
	base, err := assets.Resolve("embedded:lm-en-5m")
	if err != nil {
		t.Fatal(err)
	}
	var records []ingest.Record
	for i := range 120 {
		text := fmt.Sprintf("Section %d of the page is about file number %d and what it holds.", i%7, i)
		records = append(records, ingest.Record{Text: text})
	}
	dir, r := t.TempDir(), recipe.Default()
	r.Prepare.SequenceLength, r.Prepare.TokensPerShard = 64, 150
	r.Model.Path, r.Method, r.Train.MaxSteps, r.Train.LearningRate = base, map[string]any{"peft_type": "LORA", "r": 4}, 6, 2e-3
	p, s := beam.NewPipelineWithRoot()
	docs, rejects := tokenize.Records(s, tokenize.Settings{Tokenizer: base, Ends: r.Prepare.Ends, Pack: r.Prepare.PackOptions},
		beam.CreateList(s, records))
	end.Of(s, rejects)
	sets := pack.Records(s, pack.Settings{Dir: filepath.Join(dir, "shards"), Work: filepath.Join(dir, "work"), Name: "pages",
		Tokenizer: base, Prepare: r.Prepare, ValidationFraction: 0.4}, docs)
	adapters := train.Adapter(s, train.Settings{Work: filepath.Join(dir, "work"), Model: r.Model, Method: r.Method, Train: r.Train,
		BaseName: "the/base"}, sets)
	scored := jobstest.Collect(s, evaluate.Score(s, evaluate.Settings{Tokenizer: base, Ends: r.Prepare.Ends}, adapters, sets))
	some := evaluate.Settings{Tokenizer: base, Ends: r.Prepare.Ends, Config: measure.Config{MaxSequences: 4, BatchSize: 2}, Train: true}
	few := jobstest.Collect(s, evaluate.Score(s, some, adapters, sets))
	written := jobstest.Collect(s, Adapter(s, Settings{Out: filepath.Join(dir, "out")}, adapters))
	if err := jobs.Prism(t.Context(), p, "adapters"); err != nil {
		t.Fatal(err)
	}
	if len(scored()) != 1 || len(few()) != 1 || len(written()) != 1 {
		t.Fatalf("%d and %d scores, %d folders", len(scored()), len(few()), len(written()))
	}
	at := written()[0].Value.(Exported)
	if at.Name != "pages" || at.Dir != filepath.Join(dir, "out", "pages", "adapter") {
		t.Errorf("%+v", at)
	}
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	if raw, err := os.ReadFile(filepath.Join(at.Dir, "adapter_config.json")); err != nil || json.Unmarshal(raw, &config) != nil ||
		config.Base != "the/base" {
		t.Errorf("%+v, %v", config, err)
	}
	if card, err := os.ReadFile(filepath.Join(at.Dir, "README.md")); err != nil || !strings.Contains(string(card), "steps") {
		t.Errorf("%s, %v", card, err)
	}

	m, err := datasets.ReadManifest(filepath.Join(dir, "shards"))
	if err != nil || len(m.Validation) < 3 || m.Train[0].Rows < 2 {
		t.Fatal(m, err)
	}
	score := func(adapter string, shards []datasets.ShardInfo, config measure.Config) *measure.Results {
		model, err := infer.Load(base, "", adapter)
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close()
		in := &measure.Input{Model: model, Config: config, SequenceLength: 64}
		for _, s := range shards {
			in.Domain.Shards = append(in.Domain.Shards, filepath.Join(dir, "shards", s.Path))
		}
		parts, err := measure.Parts(in)
		if err != nil {
			t.Fatal(err)
		}
		var pieces []measure.Piece
		for _, p := range parts {
			piece, err := measure.RunPart(t.Context(), in, p)
			if err != nil {
				t.Fatal(err)
			}
			pieces = append(pieces, piece)
		}
		slices.Reverse(pieces)
		sum, err := measure.SumPerplexity(pieces)
		if err != nil {
			t.Fatal(err)
		}
		return &measure.Results{Domain: sum}
	}
	for name, c := range map[string]struct {
		got    evaluate.Scored
		shards []datasets.ShardInfo
		config measure.Config
	}{
		"held out": {scored()[0].Value.(evaluate.Scored), m.Validation, measure.Config{BatchSize: r.Evaluate.BatchSize}},
		"trained":  {few()[0].Value.(evaluate.Scored), m.Train, some.Config},
	} {
		before, after := score("", c.shards, c.config).Domain, score(at.Dir, c.shards, c.config).Domain
		want := evaluate.Scored{Adapter: "pages", Set: "pages", Tokens: int64(after.Tokens), BaseNLL: before.NLL,
			BasePerplexity: before.Perplexity, NLL: after.NLL, Perplexity: after.Perplexity, BitsPerByte: after.BitsPerByte}
		if c.got != want || !(want.NLL < want.BaseNLL) {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, c.got, want)
		}
	}
}

// TestAdaptersSettings: nowhere to write to, and an unknown dtype, are refused when the graph is built.
func TestAdaptersSettings(t *testing.T) {
	for want, set := range map[string]Settings{"Out is not set": {}, "merged_dtype": func() (c Settings) {
		c.Out, c.MergedDType = t.TempDir(), "float8"
		return c
	}()} {
		func() {
			defer func() {
				if r := fmt.Sprint(recover()); !strings.Contains(r, "export.Adapter: ") || !strings.Contains(r, want) {
					t.Errorf("%s: %s", want, r)
				}
			}()
			_, s := beam.NewPipelineWithRoot()
			Adapter(s, set, beam.CreateList(s, []train.AdapterRef{{}}))
		}()
	}
}
