// Package infer has the transforms with which models answer the rows of a user's collection: text continued ([Generate]), scored ([Score]),
// classified ([Classify]) and pooled to vectors ([Embed]), each with the adapter that the row names.
//
// Rows are brought together in buckets of each window by a GroupByKey, so that one call answers many: the base model is loaded once a
// process and read once for many rows, of several adapters where these can be mixed. Nothing is kept from one call to the next but the
// model and the adapters used last, and every answer is emitted with the window of its row: a collection may be unbounded where it is
// windowed. An answer depends on the row, its adapter, the settings and the kernel set alone: not on buckets, bundles, the order of rows,
// or what shares its batch.
package infer

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/evaluate"
	core "github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/transforms/meter"
)

func init() {
	register.DoFn3x0[string, Row, func(int64, Asked)](&BucketFn{})
	register.DoFn5x1[context.Context, int64, func(*Asked) bool, func(Completion), func(DeadLetter), error](&GenerateFn{})
	register.DoFn5x1[context.Context, int64, func(*Asked) bool, func(Scored), func(DeadLetter), error](&ScoreFn{})
	register.DoFn5x1[context.Context, int64, func(*Asked) bool, func(Class), func(DeadLetter), error](&ClassifyFn{})
	register.DoFn5x1[context.Context, int64, func(*Asked) bool, func(Embedding), func(DeadLetter), error](&EmbedFn{})
	register.Emitter2[int64, Asked]()
	register.Emitter1[Completion]()
	register.Emitter1[Scored]()
	register.Emitter1[Class]()
	register.Emitter1[Embedding]()
	register.Emitter1[DeadLetter]()
	register.Iter1[Asked]()
	for _, t := range []reflect.Type{reflect.TypeFor[Row](), reflect.TypeFor[Asked](), reflect.TypeFor[Completion](),
		reflect.TypeFor[Scored](), reflect.TypeFor[Class](), reflect.TypeFor[Embedding](), reflect.TypeFor[DeadLetter]()} {
		beam.RegisterType(t)
	}
}

// Config is where a model and its adapters are, and how they are held. Folders may be references, which every machine pulls once.
type Config struct {
	Model     string // folder of the base model
	DType     string // how its weights are stored, as infer.Open has it; "" for float32
	KernelSet string // that every worker must have, as [kernels.Active] names it; "" for any
	// Adapters are folders by the name that rows give. Other names are looked for in AdaptersDir: a folder of adapters, by their folders'
	// names, or by the keys of a run that trained one a key.
	Adapters    map[string]string
	AdaptersDir string
	Held        int           // adapters that a process holds at a time; 0 for 64
	Ends        tokenize.Ends // what stands around a text
	// Buckets are the groups into which a window's rows are cut, so many of which are answered in parallel at most; 0 for 16. Few rows a
	// bucket and window waste a pass over the base.
	Buckets int
}

// defaultBuckets are the buckets where the settings say none.
const defaultBuckets = 16

// Row is a text that is asked of a model. A row without an id gets the 128-bit hash of its text; rows of one id and adapter are one row.
type Row struct {
	ID   string `beam:"id" json:"id"`
	Text string `beam:"text" json:"text"`
}

// Asked is a row with its adapter's name, "" for the base alone.
type Asked struct {
	Adapter string `beam:"adapter" json:"adapter"`
	ID      string `beam:"id" json:"id"`
	Text    string `beam:"text" json:"text"`
}

// Completion is what a model says after a row's text.
type Completion struct {
	ID      string `beam:"id" json:"id"`
	Adapter string `beam:"adapter" json:"adapter"`
	Text    string `beam:"text" json:"text"`
	Tokens  int64  `beam:"tokens" json:"tokens"` // of the completion, with the one that ended it
	Empty   string `beam:"empty" json:"empty"`   // why Text shows nothing, "" where it shows something
}

// Scored is how well a model predicts a row's text.
type Scored struct {
	ID      string  `beam:"id" json:"id"`
	Adapter string  `beam:"adapter" json:"adapter"`
	LogProb float64 `beam:"log_prob" json:"log_prob"` // natural logarithm of the probability of the text after its first token
	Tokens  int64   `beam:"tokens" json:"tokens"`     // of the text
	// LogProbs are those of the tokens from the second on, each given those before it.
	LogProbs []float32 `beam:"log_probs" json:"log_probs"`
}

// Class is the class of a row's text.
type Class struct {
	ID            string    `beam:"id" json:"id"`
	Adapter       string    `beam:"adapter" json:"adapter"`
	Class         int64     `beam:"class" json:"class"`
	Name          string    `beam:"name" json:"name"`                   // of the class; its number where it has none
	Probabilities []float64 `beam:"probabilities" json:"probabilities"` // by class
}

// Embedding is the vector of a row's text.
type Embedding struct {
	ID      string    `beam:"id" json:"id"`
	Adapter string    `beam:"adapter" json:"adapter"`
	Vector  []float32 `beam:"vector" json:"vector"`
}

// DeadLetter is a row that has no answer.
type DeadLetter struct {
	ID      string `beam:"id" json:"id"`
	Adapter string `beam:"adapter" json:"adapter"`
	Text    string `beam:"text" json:"text"`
	Reason  string `beam:"reason" json:"reason"` // one of infer's Refused constants
	Detail  string `beam:"detail" json:"detail"`
}

// Generate continues the texts of rows (PCollection<KV<string, Row>>, by the adapter's name; "" or [peft.BaseName] for the base alone) and
// returns completions (PCollection<Completion>) and the rows that have none (PCollection<DeadLetter>). Tokens that are drawn depend on the
// settings' seed and the row's id and adapter. Settings that Validate refuses panic; [core.Model.Sampling] fills in the model's own.
func Generate(s beam.Scope, cfg Config, how evaluate.Sampling, rows beam.PCollection) (completions, dead beam.PCollection) {
	if err := how.Validate(); err != nil {
		panic(fmt.Sprintf("infer.Generate: %v", err))
	}
	s = s.Scope("infer.Generate")
	return beam.ParDo2(s, &GenerateFn{Config: cfg.text(), Sampling: string(marshal(how))}, cfg.buckets(s, rows))
}

// Score scores the texts of rows, as in [Generate], and returns PCollection<Scored> and PCollection<DeadLetter>.
func Score(s beam.Scope, cfg Config, rows beam.PCollection) (scored, dead beam.PCollection) {
	s = s.Scope("infer.Score")
	return beam.ParDo2(s, &ScoreFn{Config: cfg.text()}, cfg.buckets(s, rows))
}

// Classify gives the classes of the texts of rows, as in [Generate], by adapters with a head of classes or a base model that has one, and
// returns PCollection<Class> and PCollection<DeadLetter>.
func Classify(s beam.Scope, cfg Config, rows beam.PCollection) (classes, dead beam.PCollection) {
	s = s.Scope("infer.Classify")
	return beam.ParDo2(s, &ClassifyFn{Config: cfg.text()}, cfg.buckets(s, rows))
}

// Embed gives vectors of the texts of rows, as in [Generate], and returns PCollection<Embedding> and PCollection<DeadLetter>. Another
// pooling than infer's panics.
func Embed(s beam.Scope, cfg Config, how core.Pooling, rows beam.PCollection) (vectors, dead beam.PCollection) {
	if how != core.PoolMean && how != core.PoolLast {
		panic(fmt.Sprintf("infer.Embed: pooling is %q; it is %s or %s", how, core.PoolMean, core.PoolLast))
	}
	s = s.Scope("infer.Embed")
	return beam.ParDo2(s, &EmbedFn{Config: cfg.text(), Pooling: string(how)}, cfg.buckets(s, rows))
}

func (c *Config) text() string {
	if c.Model == "" {
		panic("infer: Config.Model names no base model")
	}
	return string(marshal(c))
}

func marshal(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("infer: %v", err))
	}
	return raw
}

// buckets brings the rows of a window together.
func (c *Config) buckets(s beam.Scope, rows beam.PCollection) beam.PCollection {
	n := c.Buckets
	if n <= 0 {
		n = defaultBuckets
	}
	return beam.GroupByKey(s, beam.ParDo(s, &BucketFn{Buckets: n}, rows))
}

// BucketFn gives rows their ids and their buckets.
type BucketFn struct {
	Buckets int
}

// ProcessElement emits a row by its bucket.
func (f *BucketFn) ProcessElement(adapter string, row Row, emit func(int64, Asked)) {
	if adapter == peft.BaseName {
		adapter = ""
	}
	if row.ID == "" {
		row.ID = idOf(row.Text)
	}
	a := Asked{adapter, row.ID, row.Text}
	_, bucket := a.numbers()
	emit(int64(bucket%uint64(f.Buckets)), a)
}

// idOf is the id of a text that has none.
func idOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// numbers are two that a row's id and adapter have: of its random numbers, and of its bucket.
func (a *Asked) numbers() (draw, bucket uint64) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(a.Adapter), a.Adapter, a.ID))
	return binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])
}

// GenerateFn continues the rows of a bucket.
type GenerateFn struct {
	Config, Sampling string // as JSON

	how evaluate.Sampling
}

// Setup opens the model.
func (f *GenerateFn) Setup(ctx context.Context) error {
	if err := json.Unmarshal([]byte(f.Sampling), &f.how); err != nil {
		return fmt.Errorf("infer: the sampling: %w", err)
	}
	return enter(ctx, f.Config)
}

// Teardown gives the model up.
func (f *GenerateFn) Teardown() error { return leave(f.Config) }

// ProcessElement emits the completions of a bucket's rows.
func (f *GenerateFn) ProcessElement(ctx context.Context, _ int64, rows func(*Asked) bool, emit func(Completion),
	dead func(DeadLetter)) error {
	return answer(ctx, f.Config, rows, func(x *core.Many, qs []core.Question) ([]core.Continuation, []*core.Refusal, error) {
		return x.Generate(ctx, qs, f.how)
	}, func(a *Asked, c *core.Continuation) {
		meter.Add(ctx, meter.TokensOut, int64(len(c.IDs)))
		emit(Completion{ID: a.ID, Adapter: a.Adapter, Text: c.Text, Tokens: int64(len(c.IDs)), Empty: c.Empty})
	}, dead)
}

// ScoreFn scores the rows of a bucket.
type ScoreFn struct {
	Config string
}

// Setup opens the model.
func (f *ScoreFn) Setup(ctx context.Context) error { return enter(ctx, f.Config) }

// Teardown gives the model up.
func (f *ScoreFn) Teardown() error { return leave(f.Config) }

// ProcessElement emits the scores of a bucket's rows.
func (f *ScoreFn) ProcessElement(ctx context.Context, _ int64, rows func(*Asked) bool, emit func(Scored), dead func(DeadLetter)) error {
	return answer(ctx, f.Config, rows, func(x *core.Many, qs []core.Question) ([]core.Scored, []*core.Refusal, error) {
		return x.Score(ctx, qs)
	}, func(a *Asked, s *core.Scored) {
		meter.Add(ctx, meter.TokensIn, int64(len(s.IDs)))
		emit(Scored{ID: a.ID, Adapter: a.Adapter, LogProb: s.Sum(), Tokens: int64(len(s.IDs)), LogProbs: s.LogProbs})
	}, dead)
}

// ClassifyFn classifies the rows of a bucket.
type ClassifyFn struct {
	Config string
}

// Setup opens the model.
func (f *ClassifyFn) Setup(ctx context.Context) error { return enter(ctx, f.Config) }

// Teardown gives the model up.
func (f *ClassifyFn) Teardown() error { return leave(f.Config) }

// ProcessElement emits the classes of a bucket's rows.
func (f *ClassifyFn) ProcessElement(ctx context.Context, _ int64, rows func(*Asked) bool, emit func(Class), dead func(DeadLetter)) error {
	return answer(ctx, f.Config, rows, func(x *core.Many, qs []core.Question) ([]core.Classified, []*core.Refusal, error) {
		return x.Classify(ctx, qs)
	}, func(a *Asked, c *core.Classified) {
		emit(Class{ID: a.ID, Adapter: a.Adapter, Class: int64(c.Class), Name: c.Name, Probabilities: c.Probabilities})
	}, dead)
}

// EmbedFn gives the vectors of the rows of a bucket.
type EmbedFn struct {
	Config, Pooling string
}

// Setup opens the model.
func (f *EmbedFn) Setup(ctx context.Context) error { return enter(ctx, f.Config) }

// Teardown gives the model up.
func (f *EmbedFn) Teardown() error { return leave(f.Config) }

// ProcessElement emits the vectors of a bucket's rows.
func (f *EmbedFn) ProcessElement(ctx context.Context, _ int64, rows func(*Asked) bool, emit func(Embedding), dead func(DeadLetter)) error {
	return answer(ctx, f.Config, rows, func(x *core.Many, qs []core.Question) ([][]float32, []*core.Refusal, error) {
		return x.Embed(ctx, core.Pooling(f.Pooling), qs)
	}, func(a *Asked, v *[]float32) {
		emit(Embedding{ID: a.ID, Adapter: a.Adapter, Vector: *v})
	}, dead)
}
