package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// Objective is what a training learns from its rows. An implementation is a struct whose exported fields are its settings, with names in
// json tags, and whose constructor, in its row of [Objectives], gives them their defaults. It may implement [Opener], [Preparer],
// [Counter], [Measurer], [Checker] and [Sampler] besides.
//
// Only numbers go through it: log-probabilities of the supervised tokens in, coefficients of their gradients out. The head keeps ∂log p/∂x,
// so that any loss over log-probabilities costs the same backward pass.
type Objective interface {
	// Spec is what the objective takes of rows and of the program, as its settings say.
	Spec() Spec
	// Loss of a batch whose LogP is known, as a sum: over the whole optimiser step it is divided by items, the sum of [Counter] over all
	// micro-batches and replicas. It sets coef[i], zero before, to the derivative of sum/items in LogP[i]. The sum does not depend on
	// items.
	Loss(b *Batch, items int, coef []float32) (sum float64)
}

// Spec is what an objective declares. The zero Spec is that of plain language modelling.
type Spec struct {
	// Kind is that of the shards it takes, [datasets.KindLM] where empty.
	Kind string
	// Pack makes one step of sequences; [StepFrom] where nil.
	Pack func([]datasets.Sequence) (*nn.Step, error)
	// Group is how many documents, one after another, are one example: 2 for chosen and rejected. A sequence holds whole groups, and so
	// does a pass. 0 for 1.
	Group int
	// Columns are the numbers of [datasets.Sequence.Values] that it reads beside tokens, such as the log-probabilities of a rollout.
	Columns []Column
	// Reference asks for the log-probabilities of the same tokens with the adapter off (slot -1), in [Batch.Reference].
	Reference bool
	// Sync lets that reference follow the adapter.
	Sync Sync
	// Precompute keeps what a reference that stays found of a document, for when it is seen again.
	Precompute bool
	// Entropy, MeanLogit, Squares and Top ask the head for those of each supervised token's distribution, in the Stats of [Batch.Step].
	Entropy, MeanLogit, Squares, Top bool
	// Prompts gives the tokens of prompts a loss, too, of the first document of each group: [Batch.Answer] says where its answer begins.
	Prompts bool
	// Whole says that the loss is over a micro-batch as a whole, so that micro-batches of another size have another loss.
	Whole bool
	// Scores asks for the logits of the labels in place of log-probabilities, everywhere: of a model whose head gives scores, such as a
	// reward.
	Scores bool
	// SharedPrompts lets a prompt that documents of a pass have in common be computed once: see [nn.Step.Share].
	SharedPrompts bool
	// Temperature divides the logits before the log-probabilities, of the reference, too, and the statistics; 0 for 1.
	Temperature float64
	// Metrics are the names that Measure notes, in the order in which they are reported.
	Metrics []string
	// NoDropout trains without the adapter's dropout.
	NoDropout bool
	// Alone says that a pass holds the rows of one adapter: what is prepared for one batch does not outlive the preparation of another.
	Alone bool
}

// Column is a column of numbers beside the tokens: one a document, or one a token, of which a batch has those of the supervised ones.
type Column struct {
	Name     string
	PerToken bool
	Optional bool // where no sequence of a batch has it, [Batch.Column] is nil
}

// Opener is an objective that opens what it needs, such as teachers.
type Opener interface {
	Open(e *Env) error
	// Close frees what Open made, and does nothing where that failed or was not called.
	Close()
	// Cost is what it takes beside the program, of documents of the given length. Weights that the student has too count with it.
	Cost(student *model.Model, length int) Cost
}

// Env is what an objective opens with.
type Env struct {
	Job   *Job
	Model *model.Model // that learns
	Pool  *pool.Pool
}

// Cost is what an objective takes beside the program of the model that learns.
type Cost struct {
	Weights  int64   // bytes of other models
	Work     int64   // bytes of its own programs and values
	Streamed int64   // bytes of streamed weights that a pass reads
	FLOPs    float64 // floating-point operations a token
	Who      string  // what holds the memory, for an error: "the teachers"
	What     string  // what Work is: "their passes and what a batch's tokens should predict"
}

// CostOf is the cost of an objective, nil for none, that is open.
func CostOf(o Objective, student *model.Model, length int) Cost {
	if x, ok := o.(Opener); ok {
		return x.Cost(student, length)
	}
	return Cost{}
}

// Preparer is an objective that computes something of a batch before its forward pass, such as what its tokens should predict.
type Preparer interface {
	Prepare(b *Batch, p *Pass) error
}

// Counter is an objective whose loss is a mean over something other than supervised tokens (those of virtual tokens among them): examples,
// for instance.
type Counter interface {
	Items(b *Batch) int
}

// Measurer is an objective with metrics of its own. Measure runs after Loss and notes of each metric a sum and what it is over; a step
// reports the means.
type Measurer interface {
	Measure(b *Batch, note func(metric string, sum float64, n int))
}

// Checker is an objective that says what is wrong with its settings.
type Checker interface{ Check() error }

// ObjectiveRow is a row of the table of objectives.
type ObjectiveRow struct {
	Name string // the field's, such as TRL's
	Doc  string
	New  func() Objective
	// Implied says whether a job that names no objective has this one; nil for never.
	Implied func(j *Job, m *model.Model) bool
}

// Objectives is the table of objectives. A new one is a file, objective_NAME.go, and a row here; the table drives TestObjectives. Where a
// job names none, the first that is implied is taken. A program adds its own by [RegisterObjective].
var Objectives = []ObjectiveRow{
	{"distil", "the next token, by its label and the distributions of teachers", func() Objective { return &Distil{} }, distils},
	{"classify", "the class of a document", func() Objective { return Classify{} }, classifies},
	{"dpo", "the chosen of two answers rather than the rejected one, against a reference", func() Objective { return NewDPO() }, nil},
	{"kto", "answers that are desirable, and not those that are undesirable", func() Objective { return NewKTO() }, nil},
	{"cpo", "the chosen of two answers rather than the rejected one, with no reference; SimPO", func() Objective { return NewCPO() }, nil},
	{"orpo", "the chosen answer, and its odds against the rejected one", func() Objective { return NewORPO() }, nil},
	{ObjectiveReward, "a reward that is higher for the chosen of two answers", func() Objective { return &RewardModel{} }, nil},
	{"grpo", "answers of its own that have a higher reward than the others of their group", func() Objective { return NewGRPO() }, nil},
	{"rloo", "the same, by whole answers and the mean of the others' rewards", func() Objective { return NewRLOO() }, nil},
	{"online_dpo", "the better of two answers of its own rather than the other, against a reference",
		func() Objective { return NewOnlineDPO() }, nil},
	{"gkd", "a teacher's distributions over answers, some of its own", func() Objective { return NewGKD() }, nil},
	{"sft", "the next token", func() Objective { return SFT{} }, func(*Job, *model.Model) bool { return true }},
}

// RegisterObjective adds an objective of a program's own to [Objectives], for jobs that name it ([Job.Objective]); a [Setup] takes one
// without that. It is called from an init function, for workers are the same program. A name that is there already is a fault of the
// program: it panics, as does a row without a name or a constructor.
func RegisterObjective(r ObjectiveRow) {
	if r.Name == "" || r.New == nil {
		panic("train: RegisterObjective: an objective has a name and a constructor")
	}
	if slices.Contains(ObjectiveNames(), r.Name) {
		panic(fmt.Sprintf("train: RegisterObjective: there is an objective %s already", r.Name))
	}
	Objectives = append(Objectives, r)
}

// ObjectiveNames are the names of the table, in its order.
func ObjectiveNames() (names []string) {
	for _, r := range Objectives {
		names = append(names, r.Name)
	}
	return names
}

// NewObjective makes the objective of a name with settings over its defaults; keys that it does not have are an error.
func NewObjective(name string, settings map[string]any) (Objective, error) {
	for _, r := range Objectives {
		if r.Name != name {
			continue
		}
		o := r.New()
		if len(settings) == 0 {
			return o, checked(name, o)
		}
		raw, err := json.Marshal(settings)
		if err != nil {
			return nil, fmt.Errorf("the settings of the objective %s: %w", name, err)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(o); err != nil {
			return nil, fmt.Errorf("the settings of the objective %s: %w", name, err)
		}
		return o, checked(name, o)
	}
	return nil, fmt.Errorf("the objective %q is unknown; known are %s", name, strings.Join(ObjectiveNames(), ", "))
}

// checked is what an objective says of its settings.
func checked(name string, o Objective) error {
	if x, ok := o.(Checker); ok {
		if err := x.Check(); err != nil {
			return fmt.Errorf("the settings of the objective %s: %w", name, err)
		}
	}
	return nil
}

// OpenObjective makes and opens the job's objective for the model that learns.
func (j *Job) OpenObjective(m *model.Model, p *pool.Pool) (Objective, error) {
	name := j.Objective
	for _, r := range Objectives {
		if name == "" && r.Implied != nil && r.Implied(j, m) {
			name = r.Name
		}
	}
	o, err := NewObjective(name, j.ObjectiveArgs)
	if err != nil {
		return nil, err
	}
	if x, ok := o.(Opener); ok {
		if err := x.Open(&Env{Job: j, Model: m, Pool: p}); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// CloseObjective frees what an objective, nil for none, has opened.
func CloseObjective(o Objective) {
	if x, ok := o.(Opener); ok {
		x.Close()
	}
}

// goal is an objective at work on a program: what training and evaluation have in common.
type goal struct {
	Objective
	spec  Spec
	index map[string]int // of metrics
	ref   *reference     // what the policy is compared with; nil for the base
	known known          // what it found of documents; nil where that is not kept
	share bool           // prompts are computed once
}

func newGoal(o Objective) goal {
	if o == nil {
		o = SFT{}
	}
	r := goal{Objective: o, spec: o.Spec(), index: map[string]int{}}
	r.share = r.spec.SharedPrompts
	for i, m := range r.spec.Metrics {
		r.index[m] = i
	}
	if r.spec.Precompute && r.spec.Reference && r.spec.Sync.Every == 0 {
		r.known = known{}
	}
	return r
}

// parts are the batches of whole documents that a program has room for, with prompts that documents have in common computed once, where
// that changes no bit of what a pass gives.
func (r *goal) parts(b *Batch, prog *nn.Program, training bool) []*Batch {
	out := b.parts(prog)
	for _, p := range out {
		r.shared(p, prog, training)
	}
	return out
}

// shared has a batch go by prompts that are computed once.
func (r *goal) shared(b *Batch, prog *nn.Program, training bool) {
	if r.share && prog.SharesRows(training && !r.spec.NoDropout) {
		b.Step = b.Step.Share()
	}
}

// items is what the loss of a batch is over.
func (r *goal) items(b *Batch, prog *nn.Program) int {
	if c, ok := r.Objective.(Counter); ok {
		return c.Items(b)
	}
	return prog.Supervised(b.Step)
}

// prepare readies a batch for its pass, by what is known of it without the adapter's gradient.
func (r *goal) prepare(b *Batch, p *Pass) error {
	if r.spec.Reference {
		r.refer(b, p)
	}
	if x, ok := r.Objective.(Preparer); ok {
		if err := x.Prepare(b, p); err != nil {
			return err
		}
	}
	b.Step.Stats = nil
	n := len(b.Step.Rows)
	st := &nn.RowStats{}
	for _, x := range []struct {
		wanted bool
		at     *[]float32
	}{{r.spec.Entropy, &st.Entropy}, {r.spec.MeanLogit, &st.MeanLogit}, {r.spec.Squares, &st.Squares}, {r.spec.Top, &st.Top}} {
		if x.wanted {
			*x.at = make([]float32, n)
			b.Step.Stats = st
		}
	}
	return nil
}

// judge is the loss of a batch whose log-probabilities are known; into is where its metrics are added.
func (r *goal) judge(b *Batch, logp []float32, items int, coef []float32, into *metrics) float64 {
	clear(coef)
	b.LogP = logp
	sum := r.Loss(b, items, coef)
	if x, ok := r.Objective.(Measurer); ok && !math.IsNaN(sum) && !math.IsInf(sum, 0) {
		if *into == nil {
			*into = make(metrics, len(r.spec.Metrics))
		}
		x.Measure(b, func(name string, sum float64, n int) {
			i, ok := r.index[name]
			if !ok {
				panic(fmt.Sprintf("train: the objective measures %q, which its Spec does not name", name))
			}
			(*into)[i].Sum += sum
			(*into)[i].N += n
		})
	}
	return sum
}

// metrics are the sums of an objective's metrics, in the order of its Spec; nil for none.
type metrics []Metric

// Metric is a sum and what it is over.
type Metric struct {
	Sum float64 `json:"sum"`
	N   int     `json:"n"`
}

// add adds other sums.
func (m *metrics) add(o metrics) {
	if *m == nil && o != nil {
		*m = make(metrics, len(o))
	}
	for i := range o {
		(*m)[i].Sum += o[i].Sum
		(*m)[i].N += o[i].N
	}
}

// encode is the sums as text of a length that depends on their number alone; decode reads it.
func (m metrics) encode() string {
	var parts []string
	for _, x := range m {
		parts = append(parts, fmt.Sprintf("%+.16e/%012d", x.Sum, x.N))
	}
	return strings.Join(parts, " ")
}

func decodeMetrics(text string) (m metrics, err error) {
	for _, part := range strings.Fields(text) {
		var x Metric
		if _, err := fmt.Sscanf(part, "%g/%d", &x.Sum, &x.N); err != nil {
			return nil, err
		}
		m = append(m, x)
	}
	return m, nil
}

// means are the metrics by name; those over nothing are left out.
func (r *goal) means(m metrics) map[string]float64 {
	var out map[string]float64
	for i, x := range m {
		if x.N > 0 {
			if out == nil {
				out = map[string]float64{}
			}
			out[r.spec.Metrics[i]] = x.Sum / float64(x.N)
		}
	}
	return out
}
