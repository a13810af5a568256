package evaluate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/measure"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/meter"
	"github.com/adaptflow/adaptflow/transforms/pack"
	"github.com/adaptflow/adaptflow/transforms/train"
)

func init() {
	beam.RegisterDoFn(&tasksFn{})
	beam.RegisterDoFn(&shardFn{})
	beam.RegisterDoFn(&sumFn{})
	for _, t := range []reflect.Type{reflect.TypeFor[Task](), reflect.TypeFor[Scored]()} {
		beam.RegisterType(t)
	}
	register.Emitter1[Task]()
	register.Emitter2[string, string]()
	register.Emitter1[Scored]()
	register.Iter1[pack.ShardSet]()
}

// Settings say how [Score] scores.
type Settings struct {
	// Tokenizer is that of the shards, by which words and bytes are counted: a folder, or a reference to one that workers have. Engine is
	// that of tokenize.LoadEngine, Ends what stands around a text.
	Tokenizer, Engine string
	Ends              tokenize.Ends
	// Config has batch_size (0 for a recipe's default) and max_sequences (0 for all); what else it asks for is not measured.
	measure.Config
	// Train scores the shards of training, in place of those held out.
	Train bool
}

// Scored is how well the base model predicts the sequences of a set, alone and with an adapter.
type Scored struct {
	Adapter string `beam:"adapter"`
	Set     string `beam:"set"` // the name of the set of shards
	Tokens  int64  `beam:"tokens"`
	// Means of the negative log-likelihood, nats a token, and its exponential; of the base alone, and with the adapter.
	BaseNLL        float64 `beam:"base_nll"`
	BasePerplexity float64 `beam:"base_perplexity"`
	NLL            float64 `beam:"nll"`
	Perplexity     float64 `beam:"perplexity"`
	BitsPerByte    float64 `beam:"bits_per_byte"` // with the adapter; 0 where part of the text has no loss
}

// Task is a shard that is scored.
type Task struct {
	Of     string `beam:"of"`  // the adapter and the set, as JSON
	Job    string `beam:"job"` // a Job without shards, as JSON
	Path   string `beam:"path"`
	SHA256 string `beam:"sha256"`
	Number int64  `beam:"number"` // among the shards of the set
	Limit  int64  `beam:"limit"`  // sequences that are scored at most, 0 for all
}

// Score scores each adapter (PCollection<train.AdapterRef>) on each set of shards (PCollection<pack.ShardSet>), on what is held out of it,
// and returns a score of each of both (PCollection<Scored>). Work is by the shard; sums are of float64, taken over the rows of a shard in
// their order and added in the order of the shards: the same bits, whoever scores what, and those of the run's metrics.json. Wrong settings
// panic.
func Score(s beam.Scope, set Settings, adapters, shards beam.PCollection) beam.PCollection {
	if set.Tokenizer == "" {
		panic("evaluate.Score: Tokenizer is not set")
	}
	if set.BatchSize = cmp.Or(set.BatchSize, recipe.Default().Evaluate.BatchSize); set.BatchSize < 0 || set.MaxSequences < 0 {
		panic(fmt.Sprintf("evaluate.Score: batch_size %d, max_sequences %d: none is below 0", set.BatchSize, set.MaxSequences))
	}
	s = s.Scope("evaluate.Score")
	tasks := beam.ParDo(s, &tasksFn{Set: set}, adapters, beam.SideInput{Input: shards})
	return beam.ParDo(s, &sumFn{}, beam.GroupByKey(s, beam.ParDo(s, &shardFn{}, beam.Reshuffle(s, tasks))))
}

// of is what a score is of.
type of struct{ Adapter, AdapterHash, Set, SetHash string }

// tasksFn lists the shards that are scored.
type tasksFn struct{ Set Settings }

// ProcessElement emits the shards of each set for an adapter.
func (f *tasksFn) ProcessElement(a train.AdapterRef, sets func(*pack.ShardSet) bool, emit func(Task)) error {
	model, at, err := a.Open()
	if err != nil {
		return err
	}
	for set := (pack.ShardSet{}); sets(&set); set = (pack.ShardSet{}) {
		m, err := set.Read()
		if err != nil {
			return err
		}
		if m.Kind != datasets.KindLM {
			return fmt.Errorf("evaluate.Score: the shards in %s are of kind %s: it scores language models; infer.Classify gives the "+
				"classes of texts", set.Dir, m.Kind)
		}
		name, err := json.Marshal(of{a.Name, a.Hash, set.Name, set.Hash})
		if err != nil {
			return err
		}
		job := Job{Model: model, At: at, Tokenizer: f.Set.Tokenizer, Engine: f.Set.Engine, Ends: f.Set.Ends,
			Config:         f.Set.Config,
			SequenceLength: m.SequenceLength, Run: storage.SHA256(name), Output: "-"} // which nothing is written to
		raw, err := json.Marshal(&job)
		if err != nil {
			return err
		}
		shards, left := m.Validation, int64(f.Set.MaxSequences)
		if f.Set.Train {
			shards = m.Train
		}
		if len(shards) == 0 {
			return fmt.Errorf("evaluate.Score: nothing is held out in %s: pack it with a ValidationFraction above 0, or score what is "+
				"trained on (Train)", set.Dir)
		}
		for i, s := range shards {
			t := Task{Of: string(name), Job: string(raw), Path: storage.Join(set.Dir, s.Path), SHA256: s.SHA256, Number: int64(i)}
			if f.Set.MaxSequences > 0 {
				if left <= 0 {
					break
				}
				t.Limit = min(left, s.Rows)
				left -= t.Limit
			}
			emit(t)
		}
	}
	return nil
}

// pieces are what was found of a shard, with the base alone and with the adapter.
type pieces struct{ Base, Adapted measure.Piece }

// shardFn scores shards.
type shardFn struct{ runs []string }

// StartBundle begins with no run.
func (f *shardFn) StartBundle(context.Context, func(string, string)) { f.runs = nil }

// ProcessElement scores one.
func (f *shardFn) ProcessElement(ctx context.Context, t Task, emit func(string, string)) error {
	switch sum, err := storage.SHA256File(t.Path); {
	case err != nil:
		return err
	case sum != t.SHA256:
		return fmt.Errorf("%s: its checksum is not the one in the manifest: pack the documents again", t.Path)
	}
	run, err := runOf(t.Job)
	if err != nil {
		return err
	}
	f.runs = append(f.runs, run)
	var p pieces
	if err := use(ctx, t.Job, func(ctx context.Context, s *session) (err error) {
		in := *s.input
		in.Domain = measure.Set{Shards: []string{t.Path}}
		part := measure.Part{Measure: measure.PerplexityName, Number: int(t.Number), Set: measure.SetDomain, Limit: int(t.Limit)}
		if p.Adapted, err = measure.RunPart(ctx, &in, part); err != nil {
			return err
		}
		in.Model = s.alone()
		p.Base, err = measure.RunPart(ctx, &in, part)
		return err
	}); err != nil {
		return fmt.Errorf("scoring %s: %w", t.Path, err)
	}
	raw, err := json.Marshal(&p)
	if err != nil {
		return err
	}
	meter.Add(ctx, meter.PartsScored, 1)
	meter.Add(ctx, meter.TokensIn, p.Adapted.Tokens)
	emit(t.Of, string(raw))
	return nil
}

// FinishBundle frees the models.
func (f *shardFn) FinishBundle(context.Context, func(string, string)) {
	for _, run := range slices.Compact(f.runs) {
		Close(run)
	}
}

// sumFn adds up what was found of shards.
type sumFn struct{}

// ProcessElement emits a score.
func (*sumFn) ProcessElement(name string, found func(*string) bool, emit func(Scored)) error {
	var o of
	if err := json.Unmarshal([]byte(name), &o); err != nil {
		return err
	}
	var base, adapted []measure.Piece
	for raw := ""; found(&raw); {
		var p pieces
		if err := json.Unmarshal([]byte(raw), &p); err != nil {
			return err
		}
		base, adapted = append(base, p.Base), append(adapted, p.Adapted)
	}
	before, err := measure.SumPerplexity(base)
	if err != nil {
		return err
	}
	after, err := measure.SumPerplexity(adapted)
	if err != nil {
		return err
	}
	emit(Scored{Adapter: o.Adapter, Set: o.Set, Tokens: int64(after.Tokens), BaseNLL: before.NLL, BasePerplexity: before.Perplexity,
		NLL: after.NLL, Perplexity: after.Perplexity, BitsPerByte: after.BitsPerByte})
	return nil
}
