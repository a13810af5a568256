package train

import (
	"errors"
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
)

// teacherAdapter is the setting that names the teacher's adapter.
const teacherAdapter = "teacher_adapter"

// GKD is the objective of on-policy distillation (Agarwal et al. 2024, arXiv:2306.13649): the generalised Jensen-Shannon divergence of the
// model's and a teacher's distributions over each token of answers, a share of which are the model's own ([nn.Divergence]). The teacher is
// another adapter over the same base, the base alone, or a model that the job names. As in TRL the loss is at temperature 1.
type GKD struct {
	Beta  float64 `json:"beta" help:"of the divergence: 0 for KL(teacher, model), 1 for KL(model, teacher), between for a mixture of both"`
	Lmbda float64 `json:"lmbda" help:"probability that a prompt's answer is the model's own; else it is the row's, or with seq_kd the teacher's"`
	SeqKD bool    `json:"seq_kd" help:"answers that are not the model's own are sampled by the teacher"`
	Sampled
	MaxNewTokens   int    `json:"max_new_tokens" help:"tokens of an answer that is sampled, at most"`
	TeacherAdapter string `json:"teacher_adapter" help:"folder of the teacher's adapter, over the same base; empty for the model of teacher_model_name_or_path, or the base alone"`

	teacher *adviser
}

// NewGKD has TRL's defaults.
func NewGKD() *GKD {
	return &GKD{Beta: 0.5, Lmbda: 0.5, Sampled: NewSampled(0.9), MaxNewTokens: 128}
}

// Check implements [Checker].
func (o *GKD) Check() (err error) {
	if !(o.Beta >= 0 && o.Beta <= 1) || !(o.Lmbda >= 0 && o.Lmbda <= 1) {
		err = fmt.Errorf("beta is %g and lmbda %g; both must be from 0 to 1", o.Beta, o.Lmbda)
	}
	if o.MaxNewTokens < 1 {
		err = errors.Join(err, fmt.Errorf("max_new_tokens is %d; it must be at least 1", o.MaxNewTokens))
	}
	return errors.Join(err, o.Sampled.Check())
}

// Spec implements [Objective].
func (*GKD) Spec() Spec { return Spec{Alone: true, NoDropout: true} }

// Rollouts implements [Sampler].
func (o *GKD) Rollouts() Rollouts {
	return Rollouts{N: 1, MaxTokens: o.MaxNewTokens, Unscored: true, Sample: Sample{Sampled: o.Sampled},
		Given: Given{Share: 1 - o.Lmbda, Sampled: o.SeqKD, Teacher: o.TeacherAdapter}}
}

// Judge implements [Sequencer]: there is nothing to judge.
func (*GKD) Judge([]datasets.Rollout) {}

// Sequences implements [Sequencer]: an answer with its prompt each.
func (*GKD) Sequences(rows []datasets.Rollout) (out Sequences) {
	for i := range rows {
		var q datasets.Sequence
		addRollout(&q, &rows[i])
		out = append(out, q)
	}
	return out
}

// addRollout adds a prompt with its answer to a sequence.
func addRollout(q *datasets.Sequence, x *datasets.Rollout) {
	q.DocStarts, q.DocIDs = append(q.DocStarts, int32(len(q.InputIDs))), append(q.DocIDs, fmt.Sprintf("%s/%d", x.DocID, x.Sample))
	q.DocSpans, q.Sources = append(q.DocSpans, [2]int32{0, 1}), append(q.Sources, "")
	q.InputIDs = append(append(q.InputIDs, x.PromptIDs...), x.CompletionIDs...)
	for range x.PromptIDs {
		q.Labels = append(q.Labels, datasets.NoLoss)
	}
	q.Labels = append(q.Labels, x.CompletionIDs...)
}

// Loss implements [Objective]: what stands for log p is the divergence with a minus.
func (o *GKD) Loss(b *Batch, items int, coef []float32) float64 { return NLL(b.LogP, items, coef) }

// Prepare implements [Preparer]: it asks the teacher.
func (o *GKD) Prepare(b *Batch, _ *Pass) error {
	if o.teacher == nil {
		return nil // whoever made it sets the targets
	}
	b.Step.Divergence = &nn.Divergence{Beta: o.Beta}
	return o.teacher.advise(b.Step)
}

// Open implements [Opener].
func (o *GKD) Open(e *Env) (err error) {
	o.teacher, err = openAdviser(e, o.TeacherAdapter)
	return err
}

// Close implements [Opener].
func (o *GKD) Close() {
	o.teacher.close()
	o.teacher = nil
}

// Cost implements [Opener].
func (o *GKD) Cost(student *model.Model, length int) Cost {
	t := o.teacher
	if t == nil {
		return Cost{}
	}
	c := Cost{Work: 4*int64(t.rows)*int64(t.vocab) + t.prog.Memory().Total(), FLOPs: ForwardFLOPs(t.model, length), Who: "teacher",
		What: "its passes and what a batch's tokens should predict"}
	if t.model != student {
		c.Weights = t.model.Resident()
	}
	c.Streamed = t.model.Streamed() * int64((t.rows+t.pass-1)/max(1, t.pass))
	return c
}

// adviser is a model that says the logarithms of its distributions.
type adviser struct {
	who      string
	held     *Held // a model of its own
	adapters []nn.Adapter
	model    *model.Model
	prog     *nn.Program
	params   *nn.Params
	target   *mem.Block // [rows, vocab], from the first step on
	pool     *pool.Pool
	vocab    int // of the student
	rows     int // tokens of a step, at most
	pass     int // of a pass
}

// openAdviser opens the teacher: an adapter's folder, the one model that the job names, or the base alone.
func openAdviser(e *Env, adapter string) (_ *adviser, err error) {
	j, t := e.Job, &adviser{who: "the base", model: e.Model, params: nn.NewParams(1), pool: e.Pool, vocab: e.Model.Config.Vocab}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if e.Model.Config.Task != "CAUSAL_LM" {
		return nil, errors.New("a classifier learns from no teacher")
	}
	length := max(1, j.SequenceLength)
	t.rows = max(1, j.Args.PerDeviceTrainBatchSize) * length
	t.pass = min(t.rows, max(length, min(teacherRows, teacherLogits/4/t.vocab)))
	switch {
	case adapter != "" && len(j.Teachers) > 0:
		return nil, errors.New("teacher_adapter and teacher_model_name_or_path name two teachers: leave one of them out")
	case adapter != "":
		a, err := OpenAdapter(e.Model, adapter, "", nil, j.BaseName, 0)
		if err != nil {
			return nil, fmt.Errorf("teacher_adapter: %w", err)
		}
		t.who, t.adapters = adapter, []nn.Adapter{a}
		t.params.Free()
		if t.params, err = a.NewParams(1); err != nil {
			return nil, fmt.Errorf("teacher_adapter: %w", err)
		}
		if err := a.Load(t.params); err != nil {
			return nil, fmt.Errorf("teacher_adapter: %w", err)
		}
	case len(j.Teachers) > 1:
		return nil, fmt.Errorf("teacher_model_name_or_path names %d models, and gkd learns from one", len(j.Teachers))
	case len(j.Teachers) == 1:
		t.who = j.Teachers[0]
		if t.held, err = Hold(t.who, j.DType, model.Task{}); err != nil {
			return nil, fmt.Errorf("the teacher: %w", err)
		}
		t.model = t.held.Model
		if err := CheckTeacher(&t.model.Config, length); err != nil {
			return nil, fmt.Errorf("the teacher %s %w", t.who, err)
		}
		if w := t.model.Config.Vocab; w < t.vocab {
			return nil, fmt.Errorf("the teacher %s has %d tokens, and the model that learns %d", t.who, w, t.vocab)
		}
	}
	return t, t.compile()
}

// compile makes the program for passes of the size that is asked.
func (t *adviser) compile() (err error) {
	if t.prog != nil {
		t.prog.Close()
	}
	t.prog, err = nn.Compile(t.model, t.adapters, t.params, nn.Options{Mode: nn.ModeLogits, Pool: t.pool,
		Caps: nn.Caps{T: t.pass, S: t.pass, N: t.pass}})
	return err
}

// advise sets the step's targets, which are valid until the next call. An error is a teacher whose logits are not finite.
func (t *adviser) advise(s *nn.Step) (err error) {
	defer mem.Catch(&err, "lower batch_size or sequence_length")
	n := len(s.Rows) * t.vocab
	if t.target == nil || len(t.target.Float32()) < n {
		t.target.Free()
		t.target = mem.AllocFloat32(max(n, t.rows*t.vocab))
	}
	s.Targets = t.target.Float32()[:n]
	for _, d := range s.Docs { // of evaluations, which name no length
		if n := int(d.End - d.Start); n > t.pass {
			t.pass = n
			if err := t.compile(); err != nil {
				return err
			}
		}
	}
	row, width := 0, t.model.Config.Vocab
	bad := make([]bool, t.pass)
	for _, part := range t.prog.Parts(&nn.Step{Tokens: s.Tokens, Positions: s.Positions, Docs: s.Docs, Rows: s.Rows}) {
		if len(part.Rows) == 0 {
			continue
		}
		logits := t.prog.Forward(part, false)
		t.pool.Run(len(part.Rows), func(i int) {
			p, to := logits[i*width:][:t.vocab], s.Targets[(row+i)*t.vocab:][:t.vocab]
			copy(to, p)
			most, sum := kernels.ExpRow(p, float32(math.Inf(-1)))
			lse := most + float32(math.Log(float64(sum)))
			for k := range to {
				to[k] -= lse
			}
			bad[i] = math.IsNaN(float64(lse)) || math.IsInf(float64(lse), 0)
		})
		for i := range part.Rows {
			if bad[i] {
				return fmt.Errorf("the teacher, %s, gives logits that are not finite", t.who)
			}
		}
		row += len(part.Rows)
	}
	return nil
}

func (t *adviser) close() {
	if t == nil {
		return
	}
	if t.prog != nil {
		t.prog.Close()
	}
	t.target.Free()
	if t.params != nil {
		t.params.Free()
	}
	if t.held != nil {
		_ = t.held.Release() // files that were only read
	}
}

var _ Sequencer = (*GKD)(nil)
